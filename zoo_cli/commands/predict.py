"""Find objects in pictures, and draw them with their names and scores.

Examples:
  zoo-cli predict runs/first photo.jpg holiday/      files and folders
  zoo-cli predict runs/first 'frames/*.png' --out found
  zoo-cli predict runs/first photo.jpg --json        as data, nothing drawn
  zoo-cli predict runs/first --data toy --limit 8    pictures of a data set
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_cli.data import MODEL_HELP, add_data, add_device, device, positive, read
from zoo_cli.pictures import Picture, listed, output_names, write
from zoo_cli.progress import Progress
from zoo_cli.settings import OF_MODEL, add_settings, nested
from zoo_core.errors import DataError, InputError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo_core.detectors.detector import Detector
    from zoo_core.types import Detections, Targets

OUT = Path("runs/predictions")
JSON_HELP = (
    "print one JSON document: for each detection image (from 1), file_name, label (from 0) and name of the model's class, "
    "bbox (x, y, width, height in pixels), score; draw only where --out is given"
)


@dataclass(frozen=True)
class Found:
    """A picture and what was found in it. `targets` is what is there, where that is known."""

    picture: Picture
    image: Tensor
    detections: Detections
    targets: Targets | None = None


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", type=Path, metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="picture files, folders of them, or patterns like 'a/*.png'")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder for the drawn pictures (default: {OUT})")
    parser.add_argument("--score", type=share, default=0.3, metavar="X", help="show what scores above this (default: 0.3)")
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    add_settings(parser, OF_MODEL)
    add_device(parser)
    add_data(parser, "val", required=False)
    parser.add_argument("--limit", type=positive, metavar="N", help="the first N pictures only")


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return value


def run(args: Namespace) -> int:
    """Predict, draw and print. A picture that cannot be read or written is told, and the others are done."""
    from zoo_core.remote import load

    if bool(args.images) == (args.data is not None):
        raise InputError("give pictures, or a data set with --data: one of the two" + (", not both" if args.images else ""))
    where = device(args.device)
    out = args.out or (None if args.json else OUT)
    sources = _of_data(args) if args.data is not None else [(picture, None) for picture in listed(args.images)][: args.limit]
    names = output_names([picture for picture, _ in sources], out) if out else []
    if out:
        out.mkdir(parents=True, exist_ok=True)
    model = load(args.model, **nested(args.settings)).to(where)
    records: list[dict[str, Any]] = []
    lines: list[str] = []
    bad: list[str] = []
    with Progress("predict") as progress:
        for number, found in enumerate(_found(model, sources, args.score, bad), 1):
            if found is not None:
                records += _records(found, number, model.class_names)
                if not out or _drawn(found, model.class_names, args.score, out / names[number - 1], bad):
                    lines.append(f"{found.picture.name}: {_counted(found.detections, model.class_names)}")
            progress.update(number, len(sources))
    for message in bad:
        print(f"zoo-cli: error: {message}", file=sys.stderr)
    if args.json:
        print(json.dumps(records, indent=2))
    elif lines:
        print("\n".join([*lines, f"drawn: {len(lines)} pictures in {out}/"]))
    return 2 if bad else 0


def _of_data(args: Namespace) -> list[tuple[Picture, Any]]:
    data = read(args)
    return [(Picture(sample.name, sample.path), sample) for sample in data][: args.limit]


def _found(model: Detector, sources: list[tuple[Picture, Any]], score: float, bad: list[str]) -> Iterator[Found | None]:
    """Yield what is found in each picture, or None for one that cannot be read."""
    from zoo_core.images import read_image

    for picture, sample in sources:
        try:
            image = read_image(picture.path) if sample is None and picture.path else sample.image()
        except DataError as error:
            bad.append(str(error))
            yield None
            continue
        detections = model.predict(image, score=score)[0]
        yield Found(picture, image, detections, sample and sample.targets)


def _records(found: Found, number: int, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield each detection with the model's own label; what number a data set has for a class, the model does not know."""
    detections = found.detections
    rows = zip(detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True)
    for (x1, y1, x2, y2), score, label in rows:
        yield {
            "image": number,
            "file_name": found.picture.name,
            "label": label,
            "name": names[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }


def _drawn(found: Found, names: tuple[str, ...], score: float, path: Path, bad: list[str]) -> bool:
    """Draw a picture and return whether it could be written; it is told if not, and the others are done."""
    try:
        _draw(found, names, score, path)
    except OSError as error:
        bad.append(f"{path}: {error.strerror or error}")
        return False
    return True


def _draw(found: Found, names: tuple[str, ...], score: float, path: Path) -> None:
    from zoo_core.engine.draw import draw

    write(draw(found.image, found.detections, names, score, targets=found.targets), path)


def _counted(detections: Detections, names: tuple[str, ...]) -> str:
    counts = Counter(names[label] for label in detections.labels.tolist())
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
