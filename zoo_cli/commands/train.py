"""Train a detector on a data set. The classes are those of the data.

Examples:
  zoo-cli train faster_rcnn_r18_fpn --data path/to/coco --out runs/first
  zoo-cli train faster_rcnn_r18_fpn --data path/to/kitti --classes Car,Cyclist
  zoo-cli train faster_rcnn_r50_fpn --data PATH --set backbone.weights=FILE
  zoo-cli train faster_rcnn_r18_fpn --data PATH --out runs/first --resume
  zoo-cli train yolov5n --data PATH --weights yolov5n.pt --map car=Car
  zoo-cli train org/traffic --data PATH           go on from a model on the Hub
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_cli.data import add_data, add_device, device, natural, positive, read, summary
from zoo_cli.interrupt import deferred
from zoo_cli.processes import count, is_main
from zoo_cli.progress import Progress
from zoo_cli.settings import add_map, add_settings, nested
from zoo_cli.table import plain
from zoo_core.errors import HubError, InputError, SpecError, TrainingError, UnknownNameError

if TYPE_CHECKING:
    from zoo_core.engine.specs import TrainSpec
    from zoo_core.engine.train import Step
    from zoo_core.specs import ComponentSpec

FLAGS = {
    **{"epochs": "epochs", "steps": "steps", "batch_size": "batch_size", "lr": "learning_rate"},
    **{"seed": "seed", "workers": "workers", "skip_bad": "skip_bad"},
}
"""The options that are settings of the training, under their names there."""

WEIGHTS_HELP = (
    "begin with these weights: a tag of the recipe ('zoo-cli show RECIPE'), the folder of a saved model, org/name[@revision] "
    "on the Hub, or a file of another project that 'zoo-cli import' knows"
)


@dataclass(frozen=True)
class Beginning:
    """What a run begins with.

    Attributes:
        recipe: the name of one, or the settings of a saved model.
        weights: as the user has called them; None for none.
        published: the name of the recipe whose training is the default; empty for a saved model of no recipe.
    """

    recipe: str | ComponentSpec
    weights: str | None
    published: str


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help="a detector of 'zoo-cli list --kind detector'; or a saved one to go on from: a folder, or org/name on the Hub",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/RECIPE)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    parser.add_argument("--weights", metavar="WHAT", help=WEIGHTS_HELP)
    add_map(parser)
    add_settings(parser)
    add_data(parser, "train", skipped="images and boxes that cannot be used")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=positive, metavar="N", help="passes over the data (default: 12, or the recipe's)")
    length.add_argument("--steps", type=positive, metavar="N", help="length of the run in steps instead")
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="images per step and process (default: 2, or the recipe's)"
    )
    parser.add_argument("--lr", type=float, metavar="X", help="learning rate (default: 0.0025, or the recipe's)")
    parser.add_argument("--seed", type=natural, metavar="N", help="same seed, same numbers (default: 0)")
    parser.add_argument("--workers", type=natural, metavar="N", help="processes that load images (default: 1)")
    add_device(parser)


def run(args: Namespace) -> int:
    """Train, and say where the result is."""
    import torch

    from zoo_core.create import continued, create
    from zoo_core.engine.checkpoint import checkpoints
    from zoo_core.engine.train import check_folder, train

    out = args.out or Path("runs") / args.recipe.replace("/", "-")
    check_folder(out)
    begun = beginning(args)
    overrides, spec = checked(args, begun)
    where = device(args.device)
    args.skip_bad = spec.skip_bad  # which --set may have set
    weights = found(begun)
    data = read(args)
    torch.manual_seed(spec.seed)  # the weights that the model begins with
    if weights is None:
        model = create(begun.recipe, class_names=data.class_names, **overrides)
    else:
        model, _ = continued(begun.recipe, weights, args.class_map, class_names=data.class_names, overrides=overrides)
    model.recipe = model.recipe or begun.published
    if is_main():
        size = sum(parameter.numel() for parameter in model.parameters())
        print(f"{plain(args.recipe)}: {size / 1e6:.1f} million parameters, on {where}", file=sys.stderr)
        if model.report is not None and not (args.resume and checkpoints(out)):
            print("\n".join(fates(begun.weights or "the backbone", str(model.report), out)), file=sys.stderr)
        print(f"{summary(data)}; {_length(spec, len(data))}", file=sys.stderr)
        if spec.warmup_steps >= spec.total_steps(len(data), count()):
            told = f"the run ends before the rate has climbed, which takes {spec.warmup_steps} steps: train longer, or set"
            print(f"zoo-cli: {told} train.warmup_steps", file=sys.stderr)
    with Progress("train", silent=not is_main()) as progress, deferred() as stop_if_asked:

        def show(step: Step) -> None:
            detail = f"loss {step.total:.3f}  lr {step.learning_rate:.2g}  {step.images_per_second:.1f} images/s"
            progress.update(step.step, step.steps, detail)
            stop_if_asked()

        try:
            last = train(model, data, spec, out, resume=args.resume, device=where, on_step=show)
        except KeyboardInterrupt:
            kept = checkpoints(out)
            rest = f"go on from {kept[-1]} with the same command and --resume" if kept else "nothing was learnt yet"
            raise KeyboardInterrupt(rest) from None
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"the memory of {where} is full; try a smaller --batch-size, or smaller images: "
                "--set preprocess.short_side=480 --set preprocess.long_side=800"
            ) from error
    if is_main():
        print(f"trained: {last}")
        print(f"next:    zoo-cli eval {out} --data {args.data}", file=sys.stderr)
    return 0


def _length(spec: TrainSpec, images: int) -> str:
    steps, processes = spec.total_steps(images, count()), count()
    together = f" images in each of {processes} processes" if processes > 1 else ""
    return f"{steps} step{'s' if steps > 1 else ''} of {spec.batch_size}{together}"


def fates(weights: str, report: str, out: Path) -> list[str]:
    """Return what became of weights, as a table, and where it is in full."""
    from zoo_core.engine.log import REPORT

    table = [plain(line) for line in report.splitlines()]
    return [f"weights of {plain(weights)}:", *table, f"tensor by tensor: {plain(str(out / REPORT))}"]


def beginning(args: Namespace) -> Beginning:
    """Return what a run begins with. A name of a recipe goes before a folder, and that before a name on the Hub."""
    from zoo_core import hub
    from zoo_core.registry import find, names
    from zoo_core.remote import fetch_config

    path = Path(args.recipe)
    try:
        find("detector", args.recipe)
    except UnknownNameError as error:
        if path.is_file():
            raise InputError(f"{path} is a file; name a recipe, and the file with --weights") from None
        if "/" not in args.recipe and not path.exists():
            raise
        folder = _of_model(args.recipe, fetch_config, str(error))
    else:
        if args.class_map and args.weights is None:
            raise InputError("--map says which classes of a saved model are which here; name that model with --weights")
        return Beginning(args.recipe, args.weights, args.recipe)
    config = hub.read_config(folder)
    published = config.recipe if config.recipe in names("detector") else ""
    return Beginning(hub.spec_of(config, folder), args.weights or args.recipe, published)


def _of_model(name: str, fetched: Callable[[str], Path], no_recipe: str) -> Path:
    try:
        return fetched(name)
    except HubError as error:
        if "@" in name:
            raise
        raise HubError(f"{no_recipe}\n{error}") from error


def found(begun: Beginning) -> str | Path | None:
    """Return the file or folder of the weights, downloaded if they are on the Hub; None where there are none."""
    from zoo_core.create import tagged
    from zoo_core.importing import is_file
    from zoo_core.remote import located

    if begun.weights is None:
        return None
    weights = tagged(begun.recipe, begun.weights)
    return weights if is_file(weights) else located(weights)


def checked(args: Namespace, begun: Beginning) -> tuple[dict[str, Any], TrainSpec]:
    """Return the overrides of the recipe and the options of the training, with all that is wrong in both told at once."""
    from zoo_core.engine.specs import TrainSpec, training_of
    from zoo_core.recipes import merge, resolve

    overrides = nested(args.settings)
    chosen = overrides.pop("train", {})
    problems: list[tuple[str, str]] = []
    if not isinstance(chosen, dict):
        raise SpecError([("train", f"expected train.OPTION=VALUE, such as train.clip=10, got {chosen!r}")])
    flags = {name: getattr(args, flag) for flag, name in FLAGS.items() if getattr(args, flag) is not None}
    spec = TrainSpec()
    try:
        spec = training_of(begun.published, merge(flags, chosen))
    except SpecError as error:
        problems += [(f"train.{path}" if path else "train", text) for path, text in error.problems]
    try:
        resolve(begun.recipe, overrides)
    except SpecError as error:
        problems += error.problems
    if problems:
        raise SpecError(problems)
    return overrides, spec
