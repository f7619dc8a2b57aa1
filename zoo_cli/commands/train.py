"""Train a detector on a data set. The classes are those of the data.

Examples:
  zoo-cli train faster_rcnn_r18_fpn --data path/to/coco --out runs/first
  zoo-cli train faster_rcnn_r18_fpn --data path/to/kitti --classes Car,Cyclist
  zoo-cli train faster_rcnn_r50_fpn --data PATH --set backbone.weights=FILE
  zoo-cli train faster_rcnn_r18_fpn --data PATH --out runs/first --resume
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_cli.data import add_data, add_device, device, natural, positive, read, summary
from zoo_cli.interrupt import deferred
from zoo_cli.processes import count, is_main
from zoo_cli.progress import Progress
from zoo_cli.settings import add_settings, nested
from zoo_core.errors import SpecError, TrainingError

if TYPE_CHECKING:
    from zoo_core.engine.specs import TrainSpec
    from zoo_core.engine.train import Step

FLAGS = {
    **{"epochs": "epochs", "steps": "steps", "batch_size": "batch_size", "lr": "learning_rate"},
    **{"seed": "seed", "workers": "workers", "skip_bad": "skip_bad"},
}
"""The options that are settings of the training, under their names there."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="a detector of 'zoo-cli list --kind detector'")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/RECIPE)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    add_settings(parser)
    add_data(parser, "train", skipped="images and boxes that cannot be used")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=positive, metavar="N", help="passes over the data (default: 12)")
    length.add_argument("--steps", type=positive, metavar="N", help="length of the run in steps instead")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="images per step and process (default: 2)")
    parser.add_argument("--lr", type=float, metavar="X", help="learning rate (default: 0.0025)")
    parser.add_argument("--seed", type=natural, metavar="N", help="same seed, same numbers (default: 0)")
    parser.add_argument("--workers", type=natural, metavar="N", help="processes that load images (default: 1)")
    add_device(parser)


def run(args: Namespace) -> int:
    """Train, and say where the result is."""
    import torch

    from zoo_core.create import create
    from zoo_core.engine.checkpoint import checkpoints
    from zoo_core.engine.train import train

    overrides, spec = checked(args)
    where = device(args.device)
    args.skip_bad = spec.skip_bad  # which --set may have set
    data = read(args)
    out = args.out or Path("runs") / args.recipe.replace("/", "-")
    torch.manual_seed(spec.seed)  # the weights that the model begins with
    model = create(args.recipe, class_names=data.class_names, **overrides)
    if is_main():
        weights = sum(parameter.numel() for parameter in model.parameters())
        print(f"{args.recipe}: {weights / 1e6:.1f} million parameters, on {where}", file=sys.stderr)
        print(f"{summary(data)}; {_length(spec, len(data))}", file=sys.stderr)
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


def checked(args: Namespace) -> tuple[dict[str, Any], TrainSpec]:
    """Return the overrides of the recipe and the options of the training, with all that is wrong in both told at once."""
    from zoo_core.engine.specs import TrainSpec
    from zoo_core.recipes import merge, resolve
    from zoo_core.specs import validate

    overrides = nested(args.settings)
    chosen = overrides.pop("train", {})
    problems: list[tuple[str, str]] = []
    if not isinstance(chosen, dict):
        raise SpecError([("train", f"expected train.OPTION=VALUE, such as train.clip=10, got {chosen!r}")])
    flags = {name: getattr(args, flag) for flag, name in FLAGS.items() if getattr(args, flag) is not None}
    spec = TrainSpec()
    try:
        spec = validate(TrainSpec, merge(flags, chosen))
    except SpecError as error:
        problems += [(f"train.{path}" if path else "train", text) for path, text in error.problems]
    try:
        resolve(args.recipe, overrides)
    except SpecError as error:
        problems += error.problems
    if problems:
        raise SpecError(problems)
    return overrides, spec
