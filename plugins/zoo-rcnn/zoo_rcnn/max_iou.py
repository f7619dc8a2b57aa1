"""Assignment by greatest overlap (Ren et al., "Faster R-CNN", 2015, section 3.1.2), with MMDetection's rules for ties."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from zoo_core.ops.iou import iof, iou
from zoo_core.types import Assignment, Detections, Targets

from zoo_rcnn.specs import MaxIoUSpec

FLOATS_PER_PAIR = 6
"""Matrices of the size (targets, priors) that live at one time, rounded up."""


class MaxIoU:
    """A prior answers for the target that it overlaps most, if by at least `positive`; below `negative` it is background.

    With `low_quality`, a target also takes *all* priors that overlap it exactly as much as the best one does, if that is
    at least `least_low_quality`; a later target overrules an earlier one. The result does not depend on the memory budget:
    the priors are looked at in chunks, twice when low-quality matches are wanted.
    """

    def __init__(self, spec: MaxIoUSpec) -> None:
        self.spec = spec

    def __call__(self, priors: Tensor, targets: Targets, predictions: Detections | None = None) -> Assignment:
        """Match priors (A, 4) with the targets of one image."""
        spec = self.spec
        owner = torch.zeros(len(priors), dtype=torch.int64, device=priors.device)
        if len(targets) and len(priors):
            best, owner = self._best(priors, targets.boxes)
            positive, background = best >= spec.positive, best < spec.negative
        else:
            positive = torch.zeros(len(priors), dtype=torch.bool, device=priors.device)
            background = ~positive
        ignored = ~(positive | background)
        if spec.ignore is not None and len(targets.ignored) and len(priors):
            out = self._in_ignored(priors, targets.ignored)
            ignored, positive = ignored | out, positive & ~out
        if spec.low_quality and len(targets) and len(priors):
            rescued, rescuer = self._low_quality(priors, targets.boxes)
            if spec.ignore is not None and len(targets.ignored):
                rescued = rescued & ~out
            owner = torch.where(rescued, rescuer, owner)
            positive, ignored = positive | rescued, ignored & ~rescued
        chosen = positive.nonzero().squeeze(1)
        return Assignment(chosen, owner[chosen], ignored)

    def _chunks(self, priors: Tensor, boxes: int) -> Iterator[slice]:
        step = max(self.spec.budget_mib * 2**20 // (4 * FLOATS_PER_PAIR * max(boxes, 1)), 1)
        for start in range(0, len(priors), step):
            yield slice(start, start + step)

    def _best(self, priors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return each prior's greatest overlap (A,) and with which target (A,)."""
        parts = [iou(boxes, priors[chunk]).max(dim=0) for chunk in self._chunks(priors, len(boxes))]
        return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])

    def _low_quality(self, priors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return which priors (A,) are a target's best, and the last such target (A,)."""
        chunks = list(self._chunks(priors, len(boxes)))
        best = torch.stack([iou(boxes, priors[chunk]).amax(dim=1) for chunk in chunks]).amax(dim=0)  # (G,)
        wanted = torch.where(best >= self.spec.least_low_quality, best, 2.0)[:, None]  # no overlap reaches 2
        rank = torch.arange(1, len(boxes) + 1, device=boxes.device)[:, None]
        last = torch.cat([((iou(boxes, priors[c]) == wanted) * rank).amax(dim=0) for c in chunks])
        return last > 0, last - 1

    def _in_ignored(self, priors: Tensor, regions: Tensor) -> Tensor:
        """Return which priors (A,) lie in an ignored region by more than the bound."""
        chunks = self._chunks(priors, len(regions))
        return torch.cat([iof(priors[chunk], regions).amax(dim=1) for chunk in chunks]) > self.spec.ignore
