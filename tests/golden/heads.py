"""Heads whose layers give recorded outputs, so that everything behind the layers is compared on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo_core.types import Assignment, Features
from zoo_rcnn.box_head import BoxHead
from zoo_rcnn.rpn import RPN
from zoo_rcnn.specs import BoxHeadSpec, RPNSpec

STRIDES = (4, 8, 16, 32, 64)


def rpn_of(spec: RPNSpec) -> RPN:
    """Return an RPN that reads its scores and deltas out of the maps that `rpn_features` makes."""
    scores = len(spec.scales) * len(spec.ratios)
    rpn = RPN(spec, dict.fromkeys(STRIDES, 10 * scores))
    rpn.conv = nn.Identity()  # type: ignore[assignment]
    either = torch.eye(5 * scores)
    signed = torch.cat([either, -either], dim=1)[..., None, None]  # relu(x) - relu(-x) is x
    for layer, rows in ((rpn.objectness, signed[:scores]), (rpn.deltas, signed[scores:])):
        layer.weight, layer.bias = nn.Parameter(rows), None
    return rpn


def rpn_features(scores: Sequence[Tensor], deltas: Sequence[Tensor]) -> Features:
    """Return the maps that make an RPN of `rpn_of` give these scores (N, A, H, W) and deltas (N, 4 A, H, W)."""
    maps = [torch.cat([s, d], dim=1) for s, d in zip(scores, deltas, strict=True)]
    return {stride: torch.cat([m, -m], dim=1) for stride, m in zip(STRIDES, maps, strict=False)}


class RecordedBoxHead(BoxHead):
    """A box head that gives the first rows of recorded logits (R, K + 1) and deltas (R, 4 K), and keeps its regions."""

    def __init__(self, spec: BoxHeadSpec, logits: Tensor, deltas: Tensor) -> None:
        super().__init__(spec, dict.fromkeys(spec.strides, 1), logits.shape[1] - 1)
        self.recorded = logits, deltas
        self.rois = torch.zeros(0, 5)

    def forward(self, features: Features, rois: Tensor) -> tuple[Tensor, Tensor]:
        self.rois = rois
        logits, deltas = self.recorded
        return logits[: len(rois)], deltas[: len(rois)].view(len(rois), -1, 4)


class RecordedSampler:
    """Keeps recorded (positive, negative) indices, one pair at each call."""

    def __init__(self, samples: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.samples = iter(samples)

    def __call__(self, assignment: Assignment, generator: torch.Generator | None = None) -> Assignment:
        positive, negative = next(self.samples)
        order = assignment.priors.argsort()
        rows = order[torch.searchsorted(assignment.priors[order], positive)]
        assert torch.equal(assignment.priors[rows], positive)
        assert torch.isin(negative, assignment.background()).all()
        ignored = torch.ones_like(assignment.ignored)
        ignored[torch.cat([positive, negative])] = False
        return Assignment(positive, assignment.targets[rows], ignored)
