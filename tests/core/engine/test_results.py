from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import torch

from zoo_core.data.samples import DetectionData, Sample
from zoo_core.engine.results import coco_results, write_coco_results, write_json
from zoo_core.errors import InputError
from zoo_core.types import Detections, Targets

DATA = DetectionData(("cat", "dog"), [Sample(7, (50, 60), Targets()), Sample("b", (50, 60), Targets())], (3, 17), "", "", "")
FOUND = [
    Detections(torch.tensor([[1.0, 2, 11, 22], [0, 0, 0.5, 1]]), torch.tensor([0.75, 0.5]), torch.tensor([1, 0])),
    Detections(torch.tensor([[5.0, 5, 6, 6]]), torch.tensor([0.25]), torch.tensor([0])),
]
EXPECTED = [
    {"image_id": 7, "category_id": 17, "bbox": [1.0, 2.0, 10.0, 20.0], "score": 0.75},
    {"image_id": 7, "category_id": 3, "bbox": [0.0, 0.0, 0.5, 1.0], "score": 0.5},
    {"image_id": "b", "category_id": 3, "bbox": [5.0, 5.0, 1.0, 1.0], "score": 0.25},
]


def test_result_form() -> None:
    assert coco_results(DATA, FOUND) == EXPECTED
    assert coco_results(DATA, [Detections(), Detections()]) == []


def test_file(tmp_path: Path) -> None:
    path = write_coco_results(DATA, FOUND, tmp_path / "new" / "results.json")
    assert json.loads(path.read_text()) == EXPECTED
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_json([1], tmp_path / "results.json")
    with pytest.raises(InputError, match="not finite"):
        write_json([math.nan], path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(InputError, match="No space left on device"):
        write_json([2], path)
    assert json.loads(path.read_text()) == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_json([], tmp_path / "file" / "results.json")


def test_detections_of_other_data() -> None:
    with pytest.raises(InputError, match="1 detections for 2 images; there must be one for each image"):
        coco_results(DATA, FOUND[:1])
    with pytest.raises(InputError, match=r"image 1 have labels 0 … 2, but the data set has 2 classes \(labels 0 … 1\)"):
        coco_results(DATA, [FOUND[0], Detections(torch.zeros(2, 4), torch.zeros(2), torch.tensor([0, 2]))])
