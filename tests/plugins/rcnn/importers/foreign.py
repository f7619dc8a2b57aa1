"""Weights as other projects have them: random ones of a small network, under names that are written out here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo_core.build import build
from zoo_core.detectors.detector import Detector
from zoo_core.recipes import resolve

SMALL: dict[str, Any] = {"neck": {"width": 16}, "roi_head": {"width": 24}}


def random_detector(recipe: str = "faster_rcnn_r18_fpn", classes: int = 3, seed: int = 0, **options: Any) -> Detector:
    """Return a detector whose every weight, and statistic, is a number of its own."""
    model = build(resolve(recipe, {**SMALL, **options, "num_classes": classes}))
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            scale = 0.5 if tensor.ndim == 1 else 0.1
            values = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(values + 0.5 if name.endswith("running_var") else scale * (values - 0.5))
    return model


def mmdetection(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of ours under MMDetection's names."""
    parts = {
        "backbone.body.": "backbone.",
        **{f"neck.lateral.{s}.": f"neck.lateral_convs.{k}.conv." for k, s in enumerate((4, 8, 16, 32))},
        **{f"neck.output.{s}.": f"neck.fpn_convs.{k}.conv." for k, s in enumerate((4, 8, 16, 32))},
        "proposer.conv.": "rpn_head.rpn_conv.",
        "proposer.objectness.": "rpn_head.rpn_cls.",
        "proposer.deltas.": "rpn_head.rpn_reg.",
        "roi_head.shared.": "roi_head.bbox_head.shared_fcs.",
        "roi_head.classes.": "roi_head.bbox_head.fc_cls.",
        "roi_head.deltas.": "roi_head.bbox_head.fc_reg.",
    }
    found = {}
    for name, tensor in tensors.items():
        part = next(part for part in parts if name.startswith(part))
        found[parts[part] + name.removeprefix(part)] = tensor.clone()
    return found
