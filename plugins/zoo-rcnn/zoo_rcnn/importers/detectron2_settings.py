"""How Detectron2 runs a Faster R-CNN with FPN, as options of our recipes, and what its files say of that."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from zoo_core.errors import CheckpointError
from zoo_core.ops.anchors import base_anchors
from zoo_rcnn.importers.colours import opposite
from zoo_rcnn.importers.state_dict import Weights

MEAN, STD = "pixel_mean", "pixel_std"
ANCHORS = r"(?:proposal_generator\.)?anchor_generator\.cell_anchors\.([0-9]{1,2})"
STRIDES = (4, 8, 16, 32, 64)
SCALES, RATIOS = (8.0,), (0.5, 1.0, 2.0)
OPTIONS: dict[str, Any] = {
    "preprocess": {
        "type": "keep_ratio",
        "short_side": 800,
        "long_side": 1333,
        "mean": (103.53, 116.28, 123.675),
        "std": (1.0, 1.0, 1.0),
        "antialias": True,
        "whole_levels": True,
        "rounding": "nearest",
        "pad_multiple": 32,
    },
    "proposer": {
        "scales": SCALES,
        "ratios": RATIOS,
        "rounded": False,
        "fitted_steps": False,
        "shrink_bound": False,
        "candidates": 1000,
        "candidates_train": 2000,
        "proposals": 1000,
        "nms_iou": 0.7,
        "rank_by": "logit",
        "least_side": 0.0,
    },
    "roi_head": {
        "roi_sampling": 0,
        "roi_aligned": True,
        "std": (0.1, 0.1, 0.2, 0.2),
        "shrink_bound": False,
        "least_score": 0.05,
        "nms_iou": 0.5,
        "most_detections": 100,
        "least_side": 0.0,
    },
}
"""Base-RCNN-FPN, with the colours in Detectron2's order: blue first."""


def beside(weights: Weights) -> tuple[Weights, Weights]:
    """Return the weights of the layers, and what older files have beside them: colours and anchors."""
    said = {name: tensor for name, tensor in weights.items() if name in (MEAN, STD) or re.fullmatch(ANCHORS, name)}
    return {name: tensor for name, tensor in weights.items() if name not in said}, said


def sees_blue_first(said: Weights) -> bool:
    """Tell the order of the colours, and with it the origin of a network: blue first and stride first, as the MSRA's, or not.

    Where a mean is said, it tells: in photographs there is less blue than red.
    """
    return MEAN not in said or (colours := _colours(said, MEAN))[0] <= colours[2]


def options(said: Weights) -> dict[str, Any]:
    """Return the options of a recipe, with what the file says of colours, red first.

    Raises:
        CheckpointError: anchors of other sizes than those that we have, or colours that are none.
    """
    for name in said:
        if match := re.fullmatch(ANCHORS, name):
            _check_anchors(said[name], name, int(match[1]))
    pixels = {option: _colours(said, name) for option, name in (("mean", MEAN), ("std", STD)) if name in said}
    found = OPTIONS | {"preprocess": OPTIONS["preprocess"] | pixels}
    return opposite(found) if sees_blue_first(said) else found


def _check_anchors(found: Tensor, name: str, level: int) -> None:
    due = base_anchors(STRIDES[level], SCALES, RATIOS) if level < len(STRIDES) else torch.empty(0, 4)
    if found.shape != due.shape or not torch.allclose(found.float(), due, atol=1e-3):
        raise CheckpointError(f"its anchors ({name}) are not those of 32 to 512 pixels in the ratios 0.5, 1 and 2")


def _colours(said: Weights, name: str) -> tuple[float, ...]:
    values: Tensor = said[name].flatten()
    if len(values) != 3 or not values.is_floating_point() or not values.isfinite().all():
        raise CheckpointError(f"its {name} is no number for each of three colours")
    return tuple(round(value, 4) for value in values.tolist())
