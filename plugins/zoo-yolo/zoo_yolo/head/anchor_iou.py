"""Assignment by the overlap of shapes (Bochkovskiy et al., "YOLOv4", 2020, section 3.4, "multiple anchors").

The best anchor of all maps alone is the rule of Redmon and Farhadi, "YOLOv3", 2018, section 2.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_core.types import Assignment, Detections, Targets
from zoo_yolo.head.cells import Cells, centres_and_sizes
from zoo_yolo.head.specs import AnchorIoUSpec

TIE = 1e-4
"""Overlaps that differ by no more count as equal: the sides of a prior are differences of coordinates, and rounded."""


class AnchorIoU:
    """In the cell that a target's centre lies in, the best anchor of all maps answers for it, and all that overlap enough.

    The overlap is that of the shapes, as if prior and target had one centre. An anchor that stands on several maps, as one
    of YOLOv4-tiny does, answers on each of them. Every anchor of a map stands in each of its cells, so the best one of all
    maps is found among the priors of the target's own cells.
    """

    def __init__(self, spec: AnchorIoUSpec) -> None:
        self.spec = spec

    def __call__(
        self,
        priors: Tensor,
        targets: Targets,
        predictions: Detections | None = None,  # noqa: ARG002
        strides: Tensor | None = None,
    ) -> Assignment:
        """Match priors (A, 4) on maps of `strides` (A,) with the targets of one image."""
        if strides is None:
            raise InputError("assigner 'anchor_iou' matches cells; it needs `strides`, that of the map of each prior")
        ignored = torch.zeros(len(priors), dtype=torch.bool, device=priors.device)
        if not len(priors) or not len(targets):
            nothing = torch.zeros(0, dtype=torch.int64, device=priors.device)
            return Assignment(nothing, nothing, ignored)
        cells = Cells(priors, strides)
        centres, sizes = centres_and_sizes(targets.boxes)
        own = (centres / cells.strides[:, None, None]).floor().long()  # (S, T, 2)
        level = torch.arange(len(own), device=own.device).repeat_interleave(len(targets))
        query, prior = cells.find(level, own.flatten(0, 1))
        target = query % len(targets)
        overlap = _shape_iou(sizes[target], centres_and_sizes(priors[prior])[1])
        best = overlap.new_zeros(len(targets)).scatter_reduce(0, target, overlap, "amax")
        chosen = (overlap > self.spec.least_iou) | ((overlap >= best[target] - TIE) & (overlap > 0))
        return Assignment(prior[chosen], target[chosen], ignored)


def _shape_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union (N,) of boxes of these sizes (N, 2) with one centre."""
    shared = torch.minimum(first, second).prod(dim=1)
    union = first.prod(dim=1) + second.prod(dim=1) - shared
    return torch.where(union > 0, shared / union, 0)
