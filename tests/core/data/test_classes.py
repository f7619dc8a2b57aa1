"""A data set with some of its classes alone, against the same data read anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.core.data.conftest import WriteCoco
from zoo_core.data.classes import restrict
from zoo_core.data.open import open_data
from zoo_core.data.samples import DetectionData, Sample
from zoo_core.errors import DataError
from zoo_core.types import ANY_LABEL

COCO = {
    "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 80}],
    "categories": [{"id": 3, "name": "cat"}, {"id": 17, "name": "dog"}, {"id": 20, "name": "cow"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 17, "bbox": [1, 2, 30, 40], "area": 55.5},
        {"id": 2, "image_id": 7, "category_id": 20, "bbox": [5, 6, 30, 40], "area": 66.5},
        {"id": 3, "image_id": 7, "category_id": 3, "bbox": [9, 9, 20, 20], "area": 77.5},
        {"id": 4, "image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        {"id": 5, "image_id": 7, "category_id": 20, "bbox": [0, 0, 8, 8], "iscrowd": 1},
    ],
}


def rows(sample: Sample) -> tuple[list[list[float]], list[list[float]]]:
    """Return the objects with their areas, and the regions, each sorted: regions have no order."""
    targets = sample.targets
    objects = torch.cat([targets.boxes, targets.labels[:, None]], dim=1).tolist()
    regions = torch.cat([targets.ignored, targets.ignored_labels[:, None]], dim=1).tolist()
    areas = [None] * len(objects) if sample.areas is None else sample.areas.tolist()
    return [[*row, area] for row, area in zip(objects, areas, strict=True)], sorted(regions)


def same(found: DetectionData, wanted: DetectionData) -> None:
    assert found.class_names == wanted.class_names
    assert [rows(sample) for sample in found] == [rows(sample) for sample in wanted]
    assert [(s.image_id, s.size, s.path) for s in found] == [(s.image_id, s.size, s.path) for s in wanted]


@pytest.mark.parametrize("classes", [("dog", "cat"), ("cow",), ("cat", "dog", "cow")])
def test_coco(write_coco: WriteCoco, classes: tuple[str, ...]) -> None:
    root = write_coco(COCO)
    found, wanted = restrict(open_data(root, "train"), classes), open_data(root, "train", classes=classes)
    same(found, wanted)
    assert found.category_ids == wanted.category_ids


def test_kitti(kitti: Path) -> None:
    same(restrict(open_data(kitti, "train"), ("Van",)), open_data(kitti, "train", classes=("Van",)))
    assert ANY_LABEL in open_data(kitti, "train", classes=("Van",))[0].targets.ignored_labels


def test_drawn_pictures() -> None:
    found = restrict(open_data("toy", "val"), ("triangle", "circle"))
    same(found, open_data("toy", "val", classes=("triangle", "circle")))
    assert torch.equal(found[0].image(), open_data("toy", "val")[0].image())


def test_a_class_that_is_not_there(kitti: Path) -> None:
    with pytest.raises(DataError, match="no class 'Cra' in this data; did you mean 'Car'"):
        restrict(open_data(kitti, "train"), ("Cra",))
