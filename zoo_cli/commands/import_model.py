"""Turn a file of weights of another project into a model that the zoo opens.

The file is read without running anything that is in it, and what became of each
of its tensors is told.

Examples:
  zoo-cli import yolov5n.pt
  zoo-cli import yolov4.weights --cfg yolov4.cfg
  zoo-cli import best.pt --out models/mine --json
  zoo-cli import coco.pth --classes Car,Person,Tram --map car=Car,person=Person
  zoo-cli import resnet18.pth --recipe faster_rcnn_r18_fpn
"""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_cli.data import names
from zoo_cli.settings import add_map
from zoo_cli.table import clip, plain
from zoo_core.errors import InputError

if TYPE_CHECKING:
    from zoo_core.detectors.detector import Detector

MODELS = Path("models")
LONGEST = 2**20


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the weights, such as a .pt file of YOLOv5")
    parser.add_argument("--cfg", type=Path, metavar="FILE", help="the network, where it lies apart from the weights")
    parser.add_argument(
        "--recipe", metavar="NAME", help="what the weights are for (default: found from the file; a backbone needs it)"
    )
    parser.add_argument(
        "--names", type=Path, metavar="FILE", help="a text file with the names of the file's own classes, one on each line"
    )
    parser.add_argument(
        "--classes", type=names, metavar="A,B", help="the classes that the model shall have (default: the file's own)"
    )
    add_map(parser, "with --classes: classes of the file (A, C) that go on under other names (B, D); equal ones need no entry")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the model goes (default: models/FILE's name)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace) -> int:
    """Import, save, and say what it was."""
    from zoo_core.create import with_classes
    from zoo_core.hub import save
    from zoo_core.importing import import_model
    from zoo_core.recipes import resolve

    if args.class_map and args.classes is None:
        raise InputError(
            "--map says which classes of the file go on as which of the model: name all of the model's with --classes A,B; "
            "to give the file's own classes other names, write --names FILE"
        )
    out = args.out or MODELS / args.file.stem
    given = None if args.names is None else read_names(args.names)
    like = None if args.recipe is None else resolve(args.recipe)
    model = import_model(args.file, cfg=args.cfg, recipe=args.recipe, class_names=given, like=like)
    if args.classes is not None:
        model = with_classes(model, args.file, args.classes, args.class_map)
    folder = save(model, out)
    found = about(model, args.file, folder)
    print(json.dumps(found, indent=2) if args.json else "\n".join(told(found, str(model.report))))
    return 0


def read_names(path: Path) -> list[str]:
    """Return the lines of a text file; raise `InputError` if it is none, or empty."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except OSError as error:
        raise InputError(f"--names {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--names {path} is not a text file in UTF-8") from error
    found = [line for line in lines if line]
    if not found or len(content) > LONGEST:
        raise InputError(f"--names {path} is {'empty' if not found else 'too long'}; it has the name of a class on each line")
    return found


def about(model: Detector, file: Path, folder: Path) -> dict[str, Any]:
    """Return what was imported, as JSON has it."""
    return {
        "file": str(file),
        "model": str(folder),
        "recipe": model.recipe,
        "classes": len(model.class_names),
        "class_names": list(model.class_names),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "report": model.report.to_json() if model.report else None,
    }


def told(found: dict[str, Any], report: str) -> list[str]:
    """Return the same as text; of the report, the table."""
    untrained = _untrained(found["report"])
    model = shlex.quote(found["model"])
    lines = [
        f"{plain(found['file'])} is now {plain(found['model'])}",
        f"  network     {found['recipe'] or 'of its own, no recipe'}",
        f"  classes     {found['classes']}: {_few(found['class_names'])}",
        f"  parameters  {found['parameters']:,}",
        "tensors:",
        *(plain(line) for line in report.splitlines()),
    ]
    if untrained:
        lines += [f"freshly initialised, so train first: {untrained}", "next:", f"  zoo-cli train {model} --data PATH"]
    else:
        lines += ["next:", f"  zoo-cli eval {model} --data PATH", f"  zoo-cli predict {model} PICTURE.jpg"]
    return lines


def _untrained(report: dict[str, Any]) -> str:
    """Return how much of a model nobody has trained yet; nothing if all of it is from the file."""
    tensors = len(report["missing"]) + len(report["reinitialised"])
    if tensors:
        return f"{tensors} tensor{'s' if tensors > 1 else ''}"
    new = [name for name, old in report["classes"].items() if old is None]
    return clip(f"what is for {_few(new)}", 42) if new else ""


def _few(given: list[str]) -> str:
    """Return the first names, as many as fit a line."""
    few = [given[0]]
    while len(few) < len(given) and len(", ".join(few)) + len(given[len(few)]) < 50:
        few.append(given[len(few)])
    return clip(plain(", ".join(few) + (", …" if len(few) < len(given) else "")), 60)
