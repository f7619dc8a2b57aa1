"""YOLOv5 (release 6), YOLOv4 and YOLOv4-tiny with their published options, and how they are published to be trained."""

from __future__ import annotations

from typing import Any

from zoo_core.detectors.specs import KeepRatioSpec, OneStageSpec, StretchSpec
from zoo_core.recipes import override
from zoo_yolo.head.specs import AnchorIoUSpec, YoloHeadSpec
from zoo_yolo.specs import C3DarknetSpec, C3PANSpec, CSPDarknet53Spec, CSPDarknet53TinySpec, SPPPANSpec, YoloTinyFPNSpec

UNIT: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)}
"""RGB values from 0 to 1."""


def yolov5l() -> OneStageSpec:
    """YOLOv5 large: the multiples of depth and width are 1; images fit into 640 x 640, with grey around them."""
    return OneStageSpec(
        num_classes=80,
        preprocess=KeepRatioSpec(
            **{"long_side": 640, "short_side": 640, "rounding": "down", "antialias": True, **UNIT},
            **{"pad_multiple": 32, "pad_value": 114, "centred": True},
        ),
        backbone=C3DarknetSpec(),
        neck=C3PANSpec(),
        head=YoloHeadSpec(),
    )


def _multiplied(depth: float, width: float) -> OneStageSpec:
    return override(yolov5l(), {"backbone": {"depth": depth, "width": width}, "neck": {"depth": depth}})


def yolov5n() -> OneStageSpec:
    """YOLOv5 nano."""
    return _multiplied(0.33, 0.25)


def yolov5s() -> OneStageSpec:
    """YOLOv5 small."""
    return _multiplied(0.33, 0.5)


def yolov5m() -> OneStageSpec:
    """YOLOv5 medium."""
    return _multiplied(0.67, 0.75)


def yolov5x() -> OneStageSpec:
    """YOLOv5 extra large."""
    return _multiplied(1.33, 1.25)


def yolov4() -> OneStageSpec:
    """YOLOv4, of ``yolov4.cfg``: images are stretched to 608 x 608; thresholds are those of Darknet's evaluation."""
    return OneStageSpec(
        num_classes=80,
        preprocess=StretchSpec(height=608, width=608, **UNIT),
        backbone=CSPDarknet53Spec(),
        neck=SPPPANSpec(),
        head=YoloHeadSpec(
            anchors=(
                ((12, 16), (19, 36), (40, 28)),
                ((36, 75), (76, 55), (72, 146)),
                ((142, 110), (192, 243), (459, 401)),
            ),
            box="exponential",
            scale_xy=(1.2, 1.1, 1.05),
            assigner=AnchorIoUSpec(least_iou=0.213),
            **{"objectness": "one", "background_iou": 0.7, "divisor": "images"},
            **{"box_weight": 0.07, "objectness_weight": 1.0, "class_weight": 1.0, "balance": (1.0, 1.0, 1.0)},
            **{"least_score": 0.005, "nms_iou": 0.45},
        ),
    )


def yolov4_tiny() -> OneStageSpec:
    """YOLOv4-tiny, of ``yolov4-tiny.cfg``: 416 x 416, two maps. One anchor belongs to both, and one to none, as in the file."""
    return override(
        yolov4(),
        {
            "preprocess": {"height": 416, "width": 416},
            "backbone": CSPDarknet53TinySpec(),
            "neck": YoloTinyFPNSpec(),
            "head": {
                "anchors": (((23, 27), (37, 58), (81, 82)), ((81, 82), (135, 169), (344, 319))),
                "scale_xy": 1.05,
                "balance": (1.0, 1.0),
                "assigner": {"least_iou": 1.0},  # the file has no iou_thresh: the best anchor alone
            },
        },
    )


def v5_training() -> dict[str, Any]:
    """Return the options of a training run of YOLOv5 as published; the warm-up is short, for small data.

    A hundred epochs of batches of 16 are what its own trainer takes when nothing is said; on COCO it took three hundred.
    """
    return {
        **{"epochs": 100, "batch_size": 16},
        **{"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.937, "nesterov": True},
        **{"weight_decay": 5e-4, "decay_all": False},
        **{"schedule": "linear", "final_rate": 0.01, "warmup_steps": 100},
        **{"ema": 0.9999, "clip": 10.0},
        "augment": {
            **{"mosaic": 1.0, "mixup": 0.0, "hsv": (0.015, 0.7, 0.4)},
            **{"scale": (0.5, 1.5), "translate": 0.1, "flip": 0.5},
        },
    }


def v4_training() -> dict[str, Any]:
    """Return the options of a training run of YOLOv4, of its ``.cfg``: batches of 8, as its batch of 64 is divided into.

    The file's rate is for the mean over 64 images, and its weight decay goes with that rate. The head's losses are sums over
    images, so the one is divided, and the other multiplied. The rate falls as a cosine (section 4.3 of the paper), where the
    file has steps. Its 500,500 batches are 270 epochs of COCO.
    """
    images = 8
    return {
        **{"epochs": 270, "batch_size": images},
        **{"optimizer": "sgd", "learning_rate": 0.0013 / 64, "momentum": 0.949},
        **{"weight_decay": 5e-4 * images, "decay_all": False},
        **{"schedule": "cosine", "warmup_steps": 1000},
        "augment": {"mosaic": 1.0, "hsv": (0.1, 0.5, 0.5), "flip": 0.5},
    }


def v4_tiny_training() -> dict[str, Any]:
    """Return the options of a training run of YOLOv4-tiny, of its ``.cfg``: another rate, no mosaic."""
    return {
        **v4_training(),
        **{"learning_rate": 0.00261 / 64, "momentum": 0.9},
        "augment": {"hsv": (0.1, 0.5, 0.5), "flip": 0.5},
    }
