"""Assignment by the overlap of shapes (Bochkovskiy et al., "YOLOv4", 2020, section 3.4, "multiple anchors").

The best anchor of all maps alone is the rule of Redmon and Farhadi, "YOLOv3", 2018, section 2.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_yolo.head.cell_rule import CellRule
from zoo_yolo.head.cells import Cells, centres_and_sizes
from zoo_yolo.head.specs import AnchorIoUSpec

TIE = 1e-4
"""Overlaps that differ by no more count as equal: the sides of a prior are differences of coordinates, and rounded."""


class AnchorIoU(CellRule):
    """In the cell that a target's centre lies in, the best anchor of all maps answers for it, and all that overlap enough.

    The overlap is that of the shapes, as if prior and target had one centre. An anchor that stands on several maps, as one
    of YOLOv4-tiny does, answers on each of them. Every anchor of a map stands in each of its cells, so the best one of all
    maps is found among the priors of the target's own cells.
    """

    def __init__(self, spec: AnchorIoUSpec) -> None:
        super().__init__(spec)
        self.spec = spec

    def match(self, cells: Cells, priors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pairs, as (prior (P,), target (P,))."""
        centres, sizes = centres_and_sizes(boxes)
        own = (centres / cells.strides[:, None, None]).floor().long()  # (S, T, 2)
        level = torch.arange(len(own), device=own.device).repeat_interleave(len(boxes))
        query, prior = cells.find(level, own.flatten(0, 1))
        target = query % len(boxes)
        overlap = _shape_iou(sizes[target], centres_and_sizes(priors[prior])[1])
        best = overlap.new_zeros(len(boxes)).scatter_reduce(0, target, overlap, "amax")
        chosen = (overlap > self.spec.least_iou) | ((overlap >= best[target] - TIE) & (overlap > 0))
        return prior[chosen], target[chosen]


def _shape_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union (N,) of boxes of these sizes (N, 2) with one centre."""
    shared = torch.minimum(first, second).prod(dim=1)
    union = first.prod(dim=1) + second.prod(dim=1) - shared
    return torch.where(union > 0, shared / union, 0)
