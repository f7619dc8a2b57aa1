"""It learns: a few drawn scenes by heart, from nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoo_core.create import create
from zoo_core.data.open import open_data
from zoo_core.data.specs import ToySpec
from zoo_core.engine.evaluate import evaluate
from zoo_core.engine.specs import training_of
from zoo_core.engine.train import train


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "side"),
    [("yolov5n", {"long_side": 128, "short_side": 128}), ("yolov4_tiny", {"height": 128, "width": 128})],
)
def test_drawn_scenes_are_learnt(tmp_path: Path, recipe: str, side: dict[str, int]) -> None:
    data = open_data("toy", "train", format=ToySpec(train=8))
    torch.manual_seed(0)
    model = create(recipe, class_names=data.class_names, preprocess=side, head={"class_weight": 10.0})
    spec = training_of(
        recipe,
        {
            **{
                "steps": 200 if recipe == "yolov5n" else 100,
                "batch_size": 8,
                "learning_rate": 0.004,
                "warmup_steps": 10,
                "workers": 0,
            },
            **{"optimizer": "adamw", "nesterov": False, "schedule": "cosine", "clip": 10.0},
            "augment": {"mosaic": 0.0, "translate": 0.0, "scale": (1.0, 1.0), "hsv": (0.0, 0.0, 0.0)},
        },
    )
    train(model, data, spec, tmp_path / "run", device="cpu")
    found = evaluate(model, data, batch_size=8).metrics["AP50"]
    print(recipe, found)
    assert found is not None
    assert found > 0.5
