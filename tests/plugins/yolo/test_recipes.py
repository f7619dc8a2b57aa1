from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo_core.build import build
from zoo_core.contributions import Recipe, load_reference
from zoo_core.detectors.one_stage import OneStage
from zoo_core.detectors.specs import OneStageSpec
from zoo_core.engine.specs import TrainSpec
from zoo_core.plugins import plugins
from zoo_core.recipes import resolve
from zoo_core.testing import check_detector
from zoo_core.types import Targets
from zoo_yolo.plugin import RECIPES, zoo_contributions

V5 = ("yolov5n", "yolov5s", "yolov5m", "yolov5l", "yolov5x")
INSTALLED = {plugin.distribution for plugin in plugins()}
BESIDE = pytest.mark.skipif(not {"zoo-timm", "zoo-fpn", "zoo-rcnn"} <= INSTALLED, reason="a plugin of the mix is not installed")
SMALL = {"long_side": 64, "short_side": 64}
RESNET = {"type": "resnet18", "strides": (8, 16, 32)}
NANO = {"type": "c3_darknet", "depth": 0.33, "width": 0.25, "strides": (8, 16, 32)}
FPN = {"type": "fpn", "width": 16, "strides": (8, 16, 32)}


@cache
def detector(recipe: str, num_classes: int = 80) -> OneStage:
    with torch.device("meta"):
        model = build(resolve(recipe, {"num_classes": num_classes}))
    assert isinstance(model, OneStage)
    return model


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def maps(model: OneStage, height: int, width: int) -> dict[int, torch.Tensor]:
    assert model.neck is not None
    found: dict[int, torch.Tensor] = model.head(
        model.neck(model.backbone(torch.empty(1, 3, height, width, device="meta")))
    ).maps
    return found


@pytest.mark.parametrize(
    ("name", "num_classes", "total"),
    [
        ("yolov5n", 80, 1_872_157),
        ("yolov5n", 3, 1_767_976),
        ("yolov5s", 80, 7_235_389),
        ("yolov5s", 3, 7_027_720),
        ("yolov5m", 80, 21_190_557),
        ("yolov5m", 3, 20_879_400),
        ("yolov5l", 80, 46_563_709),
        ("yolov5l", 3, 46_149_064),
        ("yolov5x", 80, 86_749_405),
        ("yolov5x", 3, 86_231_272),
        ("yolov4", 80, 64_363_101),
        ("yolov4", 3, 63_948_456),
        ("yolov4_tiny", 80, 6_056_606),
    ],
)
def test_parameters(name: str, num_classes: int, total: int) -> None:
    assert count(detector(name, num_classes)) == total


@pytest.mark.parametrize(("num_classes", "total"), [(80, 457_725), (3, 43_080)])
def test_parameters_of_the_last_convolutions(num_classes: int, total: int) -> None:
    assert count(detector("yolov4", num_classes).head) == total


@pytest.mark.parametrize(
    ("name", "side", "giga"),
    [
        ("yolov5n", 640, 4.52),
        ("yolov5s", 640, 16.53),
        ("yolov5m", 640, 49.05),
        ("yolov5l", 640, 109.29),
        ("yolov5x", 640, 205.88),
        ("yolov4", 416, 60.10),
        ("yolov4", 608, 128.39),
    ],
)
def test_operations(name: str, side: int, giga: float) -> None:
    """Two for each multiply-accumulate of the convolutions; YOLOv5's table also has four for each value of a norm."""
    model, values = detector(name), 0

    def add(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal values
        values += output.numel()

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    hooks = [norm.register_forward_hook(add) for norm in norms]
    with FlopCounterMode(display=False) as counter:
        maps(model, side, side)
    for hook in hooks:
        hook.remove()
    total = counter.get_total_flops() + (4 * values if name in V5 else 0)
    assert total / 1e9 == pytest.approx(giga, abs=0.006)


@pytest.mark.parametrize("name", RECIPES)
def test_the_maps_for_twenty_classes(name: str) -> None:
    found = [tuple(map_.shape) for map_ in maps(detector(name, 20), 288, 416).values()]
    wanted = [(1, 75, 36, 52), (1, 75, 18, 26), (1, 75, 9, 13)]
    assert found == (wanted[1:] if name == "yolov4_tiny" else wanted)


@pytest.mark.slow
def test_contract() -> None:
    check_detector("yolov5n", preprocess=SMALL)
    check_detector("yolov4_tiny", preprocess={"height": 96, "width": 96})


def check_training_and_detection(recipe: str, **overrides: Any) -> None:
    model = build(resolve(recipe, {"num_classes": 2, **overrides}))
    image = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    losses = model.train()([image, image], [Targets(torch.tensor([[5.0, 5, 40, 45]]), torch.tensor([1])), Targets()])
    total = torch.stack(list(losses.values())).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    (found,) = model.eval()([image])
    assert found.boxes.isfinite().all()


@pytest.mark.parametrize("name", ["yolov5n", "yolov5m", "yolov4_tiny", "yolov4"])
def test_every_parameter_is_trained(name: str) -> None:
    check_training_and_detection(name, preprocess=SMALL if name in V5 else {"height": 64, "width": 64})


@pytest.mark.parametrize(
    ("backbone", "neck"),
    [
        (RESNET, {"type": "c3_pan", "depth": 0.33}),
        (RESNET, FPN),
        (RESNET, "spp_pan"),
        (NANO, FPN),
        ({"type": "csp_darknet53_tiny", "strides": (8, 16, 32)}, {"type": "c3_pan", "depth": 0.33}),
    ],
)
@BESIDE
def test_the_head_on_other_bodies(backbone: Any, neck: Any) -> None:
    check_training_and_detection("yolov5n", preprocess=SMALL, backbone=backbone, neck=neck)


@BESIDE
def test_the_body_under_another_head() -> None:
    roi_head = {"strides": (8, 16, 32), "width": 8}
    check_training_and_detection("faster_rcnn_r50_fpn", preprocess=SMALL, backbone=NANO, neck=FPN, roi_head=roi_head)


def test_the_published_options() -> None:
    five, four, tiny = (resolve(name) for name in ("yolov5s", "yolov4", "yolov4_tiny"))
    assert isinstance(five, OneStageSpec)
    assert isinstance(four, OneStageSpec)
    assert isinstance(tiny, OneStageSpec)
    assert five.preprocess.model_dump(exclude={"type"}) == {
        **{"long_side": 640, "short_side": 640, "mean": (0, 0, 0), "std": (255, 255, 255)},
        **{"pad_multiple": 32, "pad_value": 114, "centred": True, "antialias": True, "rounding": "down"},
        "whole_levels": True,
    }
    stretched = {"mean": (0, 0, 0), "std": (255, 255, 255), "antialias": False, "whole_levels": True}
    assert four.preprocess.model_dump(exclude={"type"}) == {"height": 608, "width": 608, **stretched}
    assert tiny.preprocess.model_dump(exclude={"type"}) == {"height": 416, "width": 416, **stretched}
    head = five.head.model_dump()
    assert (head["box"], head["objectness"], head["divisor"], head["nms_iou"]) == ("square", "iou", "mean", 0.65)
    assert head["anchors"][2] == ((116, 90), (156, 198), (373, 326))
    head = four.head.model_dump()
    assert (head["box"], head["scale_xy"], head["background_iou"]) == ("exponential", (1.2, 1.1, 1.05), 0.7)
    assert head["assigner"] == {"type": "anchor_iou", "least_iou": 0.213}
    head = tiny.head.model_dump()
    assert head["anchors"] == (((23, 27), (37, 58), (81, 82)), ((81, 82), (135, 169), (344, 319)))
    assert (head["scale_xy"], head["assigner"]["least_iou"], head["objectness"]) == (1.05, 1.0, "one")


def test_every_recipe_says_how_it_is_trained() -> None:
    training = {c.name: c.training for c in zoo_contributions() if isinstance(c, Recipe)}
    assert list(training) == list(RECIPES)
    specs = {name: TrainSpec(**load_reference(reference)()) for name, reference in training.items()}
    assert len({spec.model_dump_json() for name, spec in specs.items() if name in V5}) == 1
    five, four, tiny = specs["yolov5x"], specs["yolov4"], specs["yolov4_tiny"]
    assert (five.learning_rate, five.momentum, five.nesterov, five.final_rate, five.ema) == (0.01, 0.937, True, 0.01, 0.9999)
    assert five.schedule == "linear"
    assert not five.decay_all
    assert five.augment.mosaic == four.augment.mosaic == 1.0
    assert tiny.augment.mosaic == 0.0
    # What a step takes off a weight, as Darknet does it: rate times decay, for 8 of 64 images.
    assert four.learning_rate * four.weight_decay == pytest.approx(0.0013 * 0.0005 * 8 / 64)
    assert tiny.learning_rate / four.learning_rate == pytest.approx(0.00261 / 0.0013)
