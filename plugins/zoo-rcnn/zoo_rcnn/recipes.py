"""Faster R-CNN with feature pyramids: MMDetection's 1x configurations, and a small one."""

from __future__ import annotations

from zoo_core.detectors.specs import TwoStageSpec
from zoo_core.recipes import override
from zoo_rcnn.specs import BoxHeadSpec, RPNSpec


def faster_rcnn_r50_fpn() -> TwoStageSpec:
    """Faster R-CNN with ResNet-50 and FPN; the stem and the first stage are frozen, and so are all norm statistics."""
    return TwoStageSpec(
        num_classes=80,
        backbone={"type": "resnet50", "frozen_stages": 2, "frozen_norm": True},
        neck={"type": "fpn", "width": 256, "strides": (4, 8, 16, 32, 64)},
        proposer=RPNSpec(),
        roi_head=BoxHeadSpec(),
    )


def _with_backbone(name: str) -> TwoStageSpec:
    return override(faster_rcnn_r50_fpn(), {"backbone": {"type": name, "frozen_stages": 2, "frozen_norm": True}})


def faster_rcnn_r18_fpn() -> TwoStageSpec:
    """Faster R-CNN with ResNet-18 and FPN."""
    return _with_backbone("resnet18")


def faster_rcnn_r34_fpn() -> TwoStageSpec:
    """Faster R-CNN with ResNet-34 and FPN."""
    return _with_backbone("resnet34")


def faster_rcnn_r101_fpn() -> TwoStageSpec:
    """Faster R-CNN with ResNet-101 and FPN."""
    return _with_backbone("resnet101")


def faster_rcnn_mobilenetv2_fpn() -> TwoStageSpec:
    """Faster R-CNN with MobileNetV2, a narrow FPN and smaller images: trains on a processor."""
    return override(
        faster_rcnn_r50_fpn(),
        {
            "preprocess": {"long_side": 800, "short_side": 480},
            "backbone": {"type": "mobilenetv2_100", "frozen_stages": 1, "frozen_norm": True},
            "neck": {"width": 96},
            "proposer": {"scales": (4.0,)},  # smaller images, smaller objects
            "roi_head": {"width": 512},
        },
    )
