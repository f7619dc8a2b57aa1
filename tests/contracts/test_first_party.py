"""The parts and recipes of the zoo's own plugins keep their promises."""

from __future__ import annotations

import pytest

from zoo_core.plugins import plugins
from zoo_core.testing import (
    check_assigner,
    check_backbone,
    check_dense_head,
    check_detector,
    check_neck,
    check_plugin,
    check_roi_head,
    check_sampler,
)

INSTALLED = {plugin.distribution for plugin in plugins()}
TIMM, FPN, RCNN, YOLO = (
    pytest.mark.skipif(name not in INSTALLED, reason=f"{name} is not installed")
    for name in ("zoo-timm", "zoo-fpn", "zoo-rcnn", "zoo-yolo")
)
SMALL = {"preprocess": {"long_side": 160, "short_side": 96}, "neck": {"width": 16}, "roi_head": {"width": 16}}
PYRAMID = dict.fromkeys((4, 8, 16, 32, 64), 8)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {}),
        ("resnet18", {"strides": (8, 16), "frozen_stages": 2, "frozen_norm": True}),
        ("mobilenetv2_100", {"frozen_stages": 1}),
    ],
)
@TIMM
def test_backbone(name: str, options: dict[str, object]) -> None:
    check_backbone(name, **options)


@FPN
@pytest.mark.parametrize("options", [{}, {"strides": (4, 8, 16, 32)}, {"strides": (8, 16, 32, 64, 128)}])
def test_neck(options: dict[str, object]) -> None:
    check_neck("fpn", {4: 8, 8: 16, 16: 32, 32: 64}, **{"width": 8, **options})


@RCNN
@pytest.mark.parametrize("options", [{}, {"border": 0, "sampler": {"type": "random", "count": 16}}])
def test_dense_head(options: dict[str, object]) -> None:
    check_dense_head("rpn", PYRAMID, num_classes=(1,), **options)


@RCNN
@pytest.mark.parametrize("options", [{}, {"add_targets": False}])
def test_roi_head(options: dict[str, object]) -> None:
    check_roi_head("box_head", PYRAMID, **{"width": 16, **options})


@RCNN
@pytest.mark.parametrize(
    "options", [{}, {"positive": 0.7, "negative": 0.3, "low_quality": True}, {"ignore": 0.5, "low_quality": True}]
)
def test_assigner(options: dict[str, object]) -> None:
    check_assigner("max_iou", **options)


@RCNN
@pytest.mark.parametrize("options", [{}, {"count": 16, "positive_share": 0.25}, {"most_negatives_per_positive": 2.0}])
def test_sampler(options: dict[str, object]) -> None:
    check_sampler("random", **options)


@TIMM
@FPN
@RCNN
@pytest.mark.parametrize(("recipe", "classes"), [("faster_rcnn_r18_fpn", (1, 3, 80)), ("faster_rcnn_mobilenetv2_fpn", (3,))])
def test_detector(recipe: str, classes: tuple[int, ...]) -> None:
    check_detector(recipe, num_classes=classes, **SMALL)


@YOLO
@pytest.mark.parametrize(("recipe", "classes"), [("yolov5n", (1, 3, 80)), ("yolov4_tiny", (3,))])
def test_one_stage_detector(recipe: str, classes: tuple[int, ...]) -> None:
    """Each part of these is checked alone in tests/plugins/yolo."""
    sizes = {"long_side": 96, "short_side": 96} if recipe == "yolov5n" else {"height": 96, "width": 96}
    check_detector(recipe, num_classes=classes, preprocess=sizes)


@pytest.mark.parametrize("name", sorted(name for name in INSTALLED if name.startswith("zoo-")))
def test_plugin(name: str) -> None:
    check_plugin(name)
