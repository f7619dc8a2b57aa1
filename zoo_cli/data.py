"""The options that say which data set is meant and where to compute, for all commands that need them."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from zoo_cli.processes import is_main
from zoo_core.errors import InputError

if TYPE_CHECKING:
    from zoo_core.data.samples import DetectionData


MODEL_HELP = "a folder that 'zoo-cli train' or zoo.save wrote, or org/name on the Hub"
NOT_READ = "boxes that cannot be used and images that are missing"


def add_data(parser: ArgumentParser, split: str, required: bool = True, skipped: str = NOT_READ) -> None:
    """Declare the options of a data set, of which `split` is read by default; `skipped` is what ``--skip-bad`` leaves out."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", required=required, metavar="PATH", help="folder of the data set; 'toy' for drawn pictures")
    group.add_argument("--split", default=split, metavar="NAME", help=f"which part of it (default: {split})")
    group.add_argument(
        "--format", metavar="NAME", help="its format, where that is in doubt (see 'zoo-cli list --kind data_format')"
    )
    group.add_argument("--classes", type=names, metavar="A,B", help="the classes that count, with commas (default: all)")
    group.add_argument("--skip-bad", action="store_true", default=None, help=f"leave out {skipped}, and count them")


def add_device(parser: ArgumentParser) -> None:
    """Declare ``--device``."""
    parser.add_argument("--device", metavar="NAME", help="cpu or cuda (default: cuda where there is one)")


def names(text: str) -> list[str]:
    """Return the names in a list with commas."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise ArgumentTypeError(f"'{text}' has an empty name; write names with commas between, such as Car,Cyclist")
    return found


def positive(text: str) -> int:
    """Return a whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"'{text}' is not a whole number above zero")
    return int(text)


def natural(text: str) -> int:
    """Return a whole number, zero included."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"'{text}' is not a whole number")
    return int(text)


def read(args: Namespace) -> DetectionData:
    """Return the data set that the options name, and say on standard error what was left out."""
    from zoo_core.data.open import open_data

    data = open_data(args.data, args.split, format=args.format, classes=args.classes, skip_bad=bool(args.skip_bad))
    if data.skipped.count and is_main():
        print(f"zoo-cli: left out {data.skipped.count} that cannot be used, such as", file=sys.stderr)
        print("".join(f"  {message}\n" for message in data.skipped.messages), end="", file=sys.stderr)
    return data


def summary(data: DetectionData) -> str:
    """Return a data set in one line."""
    objects = sum(len(sample.targets) for sample in data)
    shown = ", ".join(data.class_names[:6]) + (", …" if len(data.class_names) > 6 else "")
    return f"{data.name} {data.split}: {len(data)} images, {objects} objects of {len(data.class_names)} classes ({shown})"


def device(name: str | None) -> str:
    """Return the device to compute on: the one named, if it is there, or the best there is."""
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    cure = "leave out --device, or write --device cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        kind = "meta"
    if kind == "meta":  # no device at all, or one that holds no numbers
        raise InputError(f"no device '{name}'; write cpu, cuda or cuda:1")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"there is no CUDA device that PyTorch can use here; {cure}")
    try:
        torch.empty(0, device=name)
    except Exception as error:  # each kind of device has its own way to say no
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"the device '{name}' cannot be used here ({reason}); {cure}") from error
    return name
