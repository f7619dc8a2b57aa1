"""``--set KEY=VALUE``: options by their path, as nested data."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from typing import Any

Setting = tuple[tuple[str, ...], Any]


OF_TRAINING = (
    "change a setting of the recipe ('zoo-cli show RECIPE' has them all), such as roi_head.width=256, "
    "backbone=resnet50 or backbone.weights=FILE; or of the training, such as train.clip=10"
)


OF_MODEL = "change a setting of the model that its weights do not depend on, such as preprocess.long_side=1280"


def add_settings(parser: ArgumentParser, meaning: str = OF_TRAINING) -> None:
    """Declare ``--set``, whose help text is `meaning`."""
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=setting,
        metavar="KEY=VALUE",
        help=f"{meaning}. May be repeated",
    )


def setting(text: str) -> Setting:
    """Return (path, value) of ``a.b=value``; the value is read as JSON, and where it is none, as text."""
    key, sign, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not sign or not all(path):
        raise ArgumentTypeError(f"'{text}' is not of the form KEY=VALUE, such as neck.width=128")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value


OF_SAVED = "classes of the saved model (A, C) that have other names in the data (B, D); equal names need no entry"


def add_map(parser: ArgumentParser, meaning: str = OF_SAVED) -> None:
    """Declare ``--map``, whose help text is `meaning`."""
    parser.add_argument(
        "--map",
        dest="class_map",
        type=class_map,
        default={},
        metavar="A=B,C=D",
        help=meaning,
    )


def class_map(text: str) -> dict[str, str]:
    """Return the pairs of ``car=Car,person=Pedestrian``."""
    pairs = [[part.strip() for part in entry.split("=")] for entry in text.split(",")]
    wrong = next((",".join(pair) for pair in pairs if len(pair) != 2 or not all(pair)), None)
    if wrong is not None:
        raise ArgumentTypeError(f"'{text}' is not of the form OLD=NEW, such as car=Car,person=Pedestrian")
    if len({old for old, _ in pairs}) < len(pairs):
        raise ArgumentTypeError(f"'{text}' names a class twice")
    return dict(pairs)


def nested(settings: Iterable[Setting]) -> dict[str, Any]:
    """Return settings as nested dicts, a later one over an earlier one.

    ``backbone=resnet50`` and ``backbone.weights=FILE`` go together, in either order: the name is the part's type.
    """
    root: dict[str, Any] = {}
    for path, value in settings:
        place = root
        for part in path[:-1]:
            inner = place.get(part)
            if not isinstance(inner, dict):
                inner = place[part] = {"type": inner} if isinstance(inner, str) else {}
            place = inner
        last = path[-1]
        if isinstance(place.get(last), dict) and isinstance(value, str):
            value = {**place[last], "type": value}
        place[last] = value
    return root
