"""It learns, on real frames: a short form of the first run in docs/results.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoo_core.create import create
from zoo_core.data.open import open_data
from zoo_core.engine.evaluate import evaluate
from zoo_core.engine.specs import TrainSpec
from zoo_core.engine.train import train


@pytest.mark.slow
@pytest.mark.shared
def test_eight_real_frames_are_learnt(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "kitti_tiny"
    folder = tmp_path / "eight"
    folder.mkdir()
    (folder / "training").symlink_to(source / "training")
    (folder / "train.txt").write_text("".join((source / "train.txt").read_text().splitlines(keepends=True)[:8]))
    data = open_data(folder, "train", classes=("Car", "Pedestrian", "Cyclist"))
    torch.manual_seed(0)
    ignoring = {"assigner": {"ignore": 0.5}}
    model = create(
        "faster_rcnn_mobilenetv2_fpn",
        class_names=data.class_names,
        preprocess={"long_side": 640},
        backbone={"weights": str(shared / "data/weights/imagenet/mobilenetv2_1.0_imagenet.pt")},
        proposer=ignoring,
        roi_head=ignoring | {"roi_sampling": 2},
    )
    spec = TrainSpec(steps=260, learning_rate=0.02, warmup_steps=20, clip=10, schedule="cosine", workers=0)
    train(model, data, spec, tmp_path / "run", device="cpu")
    car = evaluate(model, data).per_class[0]
    assert (car["name"], car["objects"]) == ("Car", 12)
    assert car["AP50"] >= 0.6
