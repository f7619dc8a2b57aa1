"""The small whole model as a checkpoint: what is imported finds what MMDetection found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.golden.record import Record, batch_of, close, equal
from tests.golden.test_end_to_end import SMALL, TINY
from zoo_core.contributions import Recipe
from zoo_core.detectors.specs import DetectorSpec
from zoo_core.errors import CheckpointError
from zoo_core.importing import import_model
from zoo_core.recipes import resolve
from zoo_core.registry import contributed

pytestmark = pytest.mark.shared


def faster_rcnn_tiny() -> DetectorSpec:
    """Return a recipe as a stranger's plugin would bring it with its backbone."""
    return resolve("faster_rcnn_r50_fpn", SMALL | {"backbone": "tiny_resnet50"})  # type: ignore[return-value]


RECIPE = Recipe("detector", "faster_rcnn_tiny", f"{__name__}:faster_rcnn_tiny")


@pytest.fixture
def checkpoint(folder: Path, tmp_path: Path) -> Path:
    weights = load_file(folder / "e2e_tiny_weights.safetensors")
    torch.save({"meta": {"CLASSES": ("a", "b", "c")}, "state_dict": weights}, tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


def test_the_detections_of_the_record(checkpoint: Path, folder: Path) -> None:
    with contributed(TINY, RECIPE):
        model = import_model(checkpoint, recipe="faster_rcnn_tiny")
    record = Record.read(folder / "e2e_tiny.safetensors")
    metas = json.loads((folder / "e2e_tiny.json").read_text())["img_metas"]
    found = model(batch_of(metas, record["img"]))
    assert model.class_names == ("a", "b", "c")
    for image, detections in enumerate(found):
        wanted = record.under(f"dets_rescaled.{image}")
        close(detections.boxes, wanted["bboxes"], rtol=0, atol=1e-2)
        close(detections.scores, wanted["scores"], rtol=1e-4, atol=0)
        equal(detections.labels, wanted["labels"])


def test_a_backbone_that_no_recipe_has(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the first with 8 and 8 channels, and is none of .*; give a recipe that has it"):
        import_model(checkpoint)
