"""Turn a file of weights of another project into a model that the zoo opens.

The file is read without running anything that is in it.

Examples:
  zoo-cli import yolov5n.pt
  zoo-cli import yolov4.weights --cfg yolov4.cfg
  zoo-cli import best.pt --out models/mine --json
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import InputError

if TYPE_CHECKING:
    from zoo_core.detectors.detector import Detector

MODELS = Path("models")
LONGEST = 2**20


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the weights, such as a .pt file of YOLOv5")
    parser.add_argument("--cfg", type=Path, metavar="FILE", help="the network, where it lies apart from the weights")
    parser.add_argument("--recipe", metavar="NAME", help="what the weights are for (default: found from the file)")
    parser.add_argument("--names", type=Path, metavar="FILE", help="a text file with the name of a class on each line")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the model goes (default: models/FILE's name)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace) -> int:
    """Import, save, and say what it was."""
    from zoo_core.hub import save
    from zoo_core.importing import import_model

    out = args.out or MODELS / args.file.stem
    names = None if args.names is None else read_names(args.names)
    model = import_model(args.file, cfg=args.cfg, recipe=args.recipe, class_names=names)
    folder = save(model, out)
    found = about(model, args.file, folder)
    print(json.dumps(found, indent=2) if args.json else report(found))
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
    names = [line for line in lines if line]
    if not names or len(content) > LONGEST:
        raise InputError(f"--names {path} is {'empty' if not names else 'too long'}; it has the name of a class on each line")
    return names


def about(model: Detector, file: Path, folder: Path) -> dict[str, Any]:
    """Return what was imported, as JSON has it."""
    return {
        "file": str(file),
        "model": str(folder),
        "recipe": model.recipe,
        "classes": len(model.class_names),
        "class_names": list(model.class_names),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def report(found: dict[str, Any]) -> str:
    """Return the same as text."""
    recipe = found["recipe"] or "of its own, no recipe's"
    return "\n".join(
        [
            f"{found['file']} is now {found['model']}",
            f"  network     {recipe}",
            f"  classes     {found['classes']}: {_few(found['class_names'])}",
            f"  parameters  {found['parameters']:,}",
            "next:",
            f"  zoo-cli eval {found['model']} --data PATH",
            f"  zoo-cli predict {found['model']} PICTURE.jpg",
        ]
    )


def _few(names: list[str]) -> str:
    """Return the first names, as many as fit a line."""
    few = [names[0]]
    while len(few) < len(names) and len(", ".join(few)) + len(names[len(few)]) < 50:
        few.append(names[len(few)])
    return ", ".join(few) + (", …" if len(few) < len(names) else "")
