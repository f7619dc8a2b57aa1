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


def detectron2(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of ours under Detectron2's names; batch norms that count nothing are frozen ones."""
    resnet = {"conv1": "stem.conv1", "bn1": "stem.conv1.norm"}
    block = {f"conv{k}": f"conv{k}" for k in (1, 2, 3)} | {f"bn{k}": f"conv{k}.norm" for k in (1, 2, 3)}
    block |= {"downsample.0": "shortcut", "downsample.1": "shortcut.norm"}
    for stage in (1, 2, 3, 4):
        for number in range(23):
            resnet |= {f"layer{stage}.{number}.{k}": f"res{stage + 1}.{number}.{v}" for k, v in block.items()}
    parts = {
        **{f"backbone.body.{ours}": f"backbone.bottom_up.{theirs}" for ours, theirs in resnet.items()},
        **{f"neck.lateral.{s}": f"backbone.fpn_lateral{k}" for k, s in enumerate((4, 8, 16, 32), 2)},
        **{f"neck.output.{s}": f"backbone.fpn_output{k}" for k, s in enumerate((4, 8, 16, 32), 2)},
        "proposer.conv": "proposal_generator.rpn_head.conv",
        "proposer.objectness": "proposal_generator.rpn_head.objectness_logits",
        "proposer.deltas": "proposal_generator.rpn_head.anchor_deltas",
        "roi_head.shared.0": "roi_heads.box_head.fc1",
        "roi_head.shared.1": "roi_heads.box_head.fc2",
        "roi_head.classes": "roi_heads.box_predictor.cls_score",
        "roi_head.deltas": "roi_heads.box_predictor.bbox_pred",
    }
    found = {}
    for name, tensor in tensors.items():
        part, _, leaf = name.rpartition(".")
        if leaf != "num_batches_tracked":
            found[f"{parts[part]}.{leaf}"] = tensor.clone()
    return found
