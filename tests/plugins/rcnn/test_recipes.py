from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo_core.build import build
from zoo_core.detectors.two_stage import TwoStage
from zoo_core.recipes import resolve
from zoo_core.registry import names
from zoo_core.types import Targets
from zoo_rcnn.box_head import BoxHead
from zoo_rcnn.rpn import RPN

DEEP = ("faster_rcnn_r34_fpn", "faster_rcnn_r50_fpn", "faster_rcnn_r101_fpn")
RECIPES = [name for name in names("detector") if name.startswith("faster_rcnn")]


@cache
def detector(recipe: str, num_classes: int = 80) -> TwoStage:
    with torch.device("meta"):
        model = build(resolve(recipe, {"num_classes": num_classes}))
    assert isinstance(model, TwoStage)
    return model


def count(module: torch.nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


@pytest.mark.parametrize(
    ("name", "num_classes", "total", "trained"),
    [
        ("r18", 80, 28_684_256, 28_526_752),
        ("r18", 3, 28_289_631, 28_132_127),
        ("r34", 80, 38_792_416, 38_560_928),
        ("r34", 3, 38_397_791, 38_166_303),
        ("r50", 80, 41_753_056, 41_527_712),
        ("r50", 3, 41_358_431, 41_133_087),
        ("r101", 80, 60_745_184, 60_519_840),
        ("r101", 3, 60_350_559, 60_125_215),
    ],
)
def test_parameters(name: str, num_classes: int, total: int, trained: int) -> None:
    model = detector(f"faster_rcnn_{name}_fpn", num_classes)
    assert count(model) == total
    assert count(model, trained=True) == trained


def test_parameters_of_the_parts() -> None:
    model = detector("faster_rcnn_r101_fpn")
    head = model.roi_head
    assert isinstance(head, BoxHead)
    assert model.neck is not None
    assert count(model.backbone) == 42_500_160
    assert count(model.neck) == 3_344_384
    assert count(model.proposer) == 593_935
    assert count(head.shared) == 13_895_680
    assert count(head.classes) + count(head.deltas) == 411_025


def test_the_last_layers_for_three_classes() -> None:
    head = detector("faster_rcnn_r50_fpn", 3).roi_head
    assert isinstance(head, BoxHead)
    assert head.classes.weight.shape == (4, 1024)
    assert head.deltas.weight.shape == (12, 1024)
    assert count(head.classes) + count(head.deltas) == 16_400


@pytest.mark.parametrize(
    ("name", "size", "giga"),
    [
        ("r50", (800, 1280), 206.33),
        ("r50", (800, 1333), 215.05),
        ("r50", (416, 1344), 119.15),
        ("r101", (800, 1280), 282.09),
        ("r101", (800, 1333), 294.60),
        ("r101", (416, 1344), 160.52),
    ],
)
def test_multiply_accumulates(name: str, size: tuple[int, int], giga: float) -> None:
    """Of convolutions and linear layers, with 1000 regions."""
    model = detector(f"faster_rcnn_{name}_fpn")
    head = model.roi_head
    assert isinstance(head, BoxHead)
    assert model.neck is not None
    with FlopCounterMode(display=False) as counter:
        model.proposer(model.neck(model.backbone(torch.empty(1, 3, *size, device="meta"))))
        hidden = torch.empty(1000, 256 * 7 * 7, device="meta")
        for layer in head.shared:
            hidden = layer(hidden)
        head.classes(hidden)
        head.deltas(hidden)
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga, abs=0.005)


def test_a_wide_image_has_139671_anchors() -> None:
    model = detector("faster_rcnn_r50_fpn")
    assert model.neck is not None
    with torch.device("meta"):
        raw = model.proposer(model.neck(model.backbone(torch.empty(1, 3, 416, 1344))))
    assert [len(anchors) for anchors in raw.anchors.values()] == [104_832, 26_208, 6_552, 1_638, 441]


def test_the_samples_of_both_stages() -> None:
    model = detector("faster_rcnn_r50_fpn")
    rpn, head = model.proposer, model.roi_head
    assert isinstance(rpn, RPN)
    assert isinstance(head, BoxHead)
    assert rpn.spec.sampler.model_dump() | rpn.spec.assigner.model_dump() | {"type": ""} == {
        **{"type": "", "count": 256, "positive_share": 0.5, "most_negatives_per_positive": None},
        **{"positive": 0.7, "negative": 0.3, "low_quality": True, "least_low_quality": 0.3, "all_ties": True},
        **{"ignore": None, "ignore_share_of": "prior", "budget_mib": 128},
    }
    assert head.spec.sampler.model_dump() == {
        **{"type": "random", "count": 512, "positive_share": 0.25, "most_negatives_per_positive": None}
    }
    assert (rpn.spec.candidates_train, rpn.spec.candidates, rpn.spec.proposals) == (2000, 1000, 1000)


@pytest.mark.parametrize("recipe", [pytest.param(r, marks=pytest.mark.slow) if r in DEEP else r for r in RECIPES])
def test_every_recipe_detects_and_trains(recipe: str) -> None:
    overrides = {"preprocess": {"long_side": 96, "short_side": 64}, "neck": {"width": 8}, "roi_head": {"width": 8}}
    model = build(resolve(recipe, overrides | {"num_classes": 2}))
    image = torch.randint(0, 256, (3, 30, 50), dtype=torch.uint8)
    (found,) = model.eval()([image])
    assert found.boxes.isfinite().all()
    batch = model.preprocess([image, image], [Targets(torch.tensor([[5.0, 5, 30, 25]]), torch.tensor([1])), Targets()])
    losses = model.train()(batch)
    assert list(losses) == ["proposer.objectness", "proposer.boxes", "roi_head.classes", "roi_head.boxes"]
    sum(losses.values()).backward()
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert not without
