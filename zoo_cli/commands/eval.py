"""Measure a trained detector: average precision as COCO and VOC define it.

Examples:
  zoo-cli eval runs/first --data path/to/coco
  zoo-cli eval runs/first --data path/to/kitti --classes Car,Cyclist
  zoo-cli eval runs/first --data PATH --results detections.json
  zoo-cli eval runs/first --data PATH --json
  zoo-cli eval runs/first --data PATH --map car=Car,person=Pedestrian
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from zoo_cli.data import MODEL_HELP, add_data, add_device, device, natural, positive, read, summary
from zoo_cli.progress import Progress
from zoo_cli.settings import OF_MODEL, add_map, add_settings, nested
from zoo_cli.table import table, width
from zoo_core.errors import InputError

if TYPE_CHECKING:
    from zoo_core.data.samples import DetectionData
    from zoo_core.detectors.detector import Detector
    from zoo_core.engine.evaluate import Evaluation

FIGURES = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "APs": "small objects, below 32² pixels",
    "APm": "medium objects",
    "APl": "large objects, above 96² pixels",
    "AR1": "recall with 1 detection per image",
    "AR10": "with 10",
    "AR100": "with 100",
    "voc_mAP50": "VOC's mean average precision at IoU 0.50",
}


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", type=Path, metavar="MODEL", help=MODEL_HELP)
    add_map(parser)
    add_settings(parser, OF_MODEL)
    add_data(parser, "val")
    parser.add_argument("--batch-size", type=positive, default=1, metavar="N", help="images at a time (default: 1)")
    parser.add_argument("--workers", type=natural, default=1, metavar="N", help="processes that load images (default: 1)")
    add_device(parser)
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the detections in COCO's result form")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace) -> int:
    """Evaluate, and print the figures."""
    from zoo_core.engine.evaluate import evaluate
    from zoo_core.engine.results import write_coco_results
    from zoo_core.remote import load

    where = device(args.device)
    if args.results is not None:
        check_results(args.results)
    model = load(args.model, **nested(args.settings))
    data = read_for(model, args)
    print(f"{args.model} on {summary(data)}", file=sys.stderr)
    with Progress("eval") as progress:
        options: dict[str, Any] = {"batch_size": args.batch_size, "workers": args.workers, "device": where}
        found = evaluate(model, data, class_map=args.class_map, **options, progress=progress.update)
    if args.results is not None:
        write_coco_results(data, found.detections, args.results)
    if args.json:
        about = {"model": str(args.model), "data": data.name, "split": data.split}
        print(json.dumps(about | found.to_json(), indent=2))
        return 0
    print("\n".join(report(found)))
    return 0


def check_results(path: Path) -> None:
    """Raise `InputError` if results cannot be written to `path`, or would replace what is no list of results."""
    if path.is_dir():
        raise InputError(f"--results {path} is a folder; give the name of a file")
    folder = next(parent for parent in path.absolute().parents if parent.exists())  # what is missing is made
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"--results {path}: {folder} is not a folder that can be written to")
    if path.exists() and not (path.is_file() and _first_byte(path) in (b"", b"[")):
        raise InputError(f"--results {path} is a file that holds no results and would be lost; give another name")


def _first_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024).lstrip()[:1]


def read_for(model: Detector, args: Namespace) -> DetectionData:
    """Return the data with the classes that were asked for, or else with those that the model knows, as in its training."""
    from zoo_core.data.classes import restrict
    from zoo_core.engine.evaluate import match_classes, renamed

    data = read(args)
    if args.classes is not None:
        return data
    matched = set(match_classes(renamed(model.class_names, args.class_map), data.class_names)[0].tolist())
    known = [name for label, name in enumerate(data.class_names) if label in matched]
    if len(known) == len(data.class_names):
        return data
    print(f"on the model's classes ({', '.join(known)}); objects of others count as ignore regions", file=sys.stderr)
    return restrict(data, known)


def report(found: Evaluation) -> list[str]:
    """Return an evaluation as text."""
    lines = table(("FIGURE", "VALUE", ""), [(name, percent(found.metrics.get(name)), text) for name, text in FIGURES.items()])
    columns = ("AP", "AP50", "AR100", "voc_AP50")
    rows = [
        (row["name"], str(row["objects"]), str(row["detections"]), *(percent(row[key]) for key in columns))
        for row in found.per_class
    ]
    lines += ["", *table(("CLASS", "OBJECTS", "DETECTIONS", *columns), rows)]
    lines += ["", f"{found.images} images in {found.seconds:.1f} s ({found.images / max(found.seconds, 1e-9):.1f} per second)"]
    return lines + [line for note in found.notes for line in wrap(f"note: {note}", width(), subsequent_indent="      ")]


def percent(value: float | None) -> str:
    """Return a figure with three decimals; a dash where there was nothing to find."""
    return "-" if value is None else f"{value:.3f}"
