"""Small data sets, written to a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CAR = "Car 0.00 0 1.55 10 20 60 50 1 1 1 1 1 1 0"
DONT_CARE = "DontCare -1 -1 -10 0 0 9 9 -1 -1 -1 -1000 -1000 -1000 -10"
WriteCoco = Callable[..., Path]


def write_image(path: Path, size: tuple[int, int] = (100, 80)) -> None:
    """Write a grey image of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path)


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """Return a KITTI folder with frames a and b in train, c in val, images of 100 x 80 pixels."""
    root = tmp_path / "kitti"
    labels = {
        "a": [CAR, CAR.replace("Car", "Van").replace("60", "70"), DONT_CARE],
        "b": [],
        "c": [CAR.replace("Car", "Cyclist")],
    }
    for name, lines in labels.items():
        write_image(root / "training" / "image_2" / f"{name}.png")
        (root / "training" / "label_2").mkdir(exist_ok=True)
        (root / "training" / "label_2" / f"{name}.txt").write_text("\n".join(lines))
    (root / "train.txt").write_text("a\nb\n")
    (root / "val.txt").write_text("c\n")
    return root


@pytest.fixture
def write_coco(tmp_path: Path) -> WriteCoco:
    """Return a function that writes a COCO folder from a document, or from text, and returns the folder."""

    def write(document: dict[str, Any] | str, *, split: str = "train", images: str = "train") -> Path:
        root = tmp_path / "coco"
        for name in ("a.png", "b.png"):
            write_image(root / images / name)
        (root / "annotations").mkdir(exist_ok=True)
        text = document if isinstance(document, str) else json.dumps(document)
        (root / "annotations" / f"instances_{split}.json").write_text(text)
        return root

    return write
