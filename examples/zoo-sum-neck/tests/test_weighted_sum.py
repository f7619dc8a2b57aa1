from __future__ import annotations

import pytest
import torch

from zoo_core.create import create
from zoo_core.errors import InputError, SpecError
from zoo_core.testing import check_neck, check_plugin
from zoo_sum_neck.specs import WeightedSumSpec
from zoo_sum_neck.weighted_sum import WeightedSum


def test_the_plugin_keeps_its_promises() -> None:
    check_plugin("zoo-sum-neck")


def test_the_neck_keeps_its_promises() -> None:
    check_neck("weighted_sum", channels={4: 8, 8: 16, 16: 32, 32: 64}, width=8)


def test_equal_weights_give_the_mean() -> None:
    neck = WeightedSum(WeightedSumSpec(width=1, strides=(8, 16)), {8: 1, 16: 1})
    for lateral in neck.lateral.values():
        torch.nn.init.ones_(lateral.weight)
        torch.nn.init.zeros_(lateral.bias)
    maps = neck({8: torch.full((1, 1, 4, 4), 2.0), 16: torch.full((1, 1, 2, 2), 4.0)})
    assert torch.allclose(maps[8], torch.tensor(3.0), atol=1e-3)
    assert torch.equal(maps[16], torch.full((1, 1, 2, 2), 4.0))


def test_it_takes_the_place_of_another_neck() -> None:
    model = create("faster_rcnn_r18_fpn", num_classes=2, neck={"type": "weighted_sum", "width": 64})
    assert model.neck.channels == dict.fromkeys((4, 8, 16, 32, 64), 64)
    assert isinstance(model.predict(torch.zeros(3, 64, 64, dtype=torch.uint8)), list)


def test_mistakes_are_told() -> None:
    with pytest.raises(SpecError, match="each stride must be twice the one before"):
        create("faster_rcnn_r18_fpn", neck={"type": "weighted_sum", "strides": (4, 16)})
    with pytest.raises(InputError, match="the backbone has"):
        WeightedSum(WeightedSumSpec(strides=(2, 4)), {4: 8})
