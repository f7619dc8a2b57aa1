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
    at least `least_low_quality`; a later target overrules an earlier one. With `ignore`, priors in ignored regions take no
    part in this. The result does not depend on the memory budget: the priors are looked at in chunks, twice more when
    low-quality matches are wanted.
    """

    def __init__(self, spec: MaxIoUSpec) -> None:
        self.spec = spec

    def __call__(self, priors: Tensor, targets: Targets, predictions: Detections | None = None) -> Assignment:  # noqa: ARG002
        """Match priors (A, 4) with the targets of one image."""
        if self.spec.ignore is None or not len(targets.ignored) or not len(priors):
            return self._match(priors, targets.boxes)
        outside = (self._ignored_share(priors, targets.ignored) <= self.spec.ignore).nonzero().squeeze(1)
        return self._match(priors[outside], targets.boxes).shifted(outside, len(priors))

    def _match(self, priors: Tensor, boxes: Tensor) -> Assignment:
        if not len(priors) or not len(boxes):  # all is background
            nothing = torch.zeros(0, dtype=torch.int64, device=priors.device)
            return Assignment(nothing, nothing, torch.zeros(len(priors), dtype=torch.bool, device=priors.device))
        spec = self.spec
        low, high = (0.0, spec.negative) if isinstance(spec.negative, float) else spec.negative
        best, owner = self._best(priors, boxes)
        positive = best >= spec.positive
        if spec.low_quality:
            rescued, rescuer = self._low_quality(priors, boxes)
            owner = torch.where(rescued, rescuer, owner)
            positive |= rescued
        chosen = positive.nonzero().squeeze(1)
        return Assignment(chosen, owner[chosen], ~(positive | (best >= low) & (best < high)))

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
        peaks = [iou(boxes, priors[chunk]).max(dim=1) for chunk in chunks]
        best, where = torch.stack([peak.values for peak in peaks]).max(dim=0)  # (G,)
        enough = best >= self.spec.least_low_quality
        rank = torch.arange(1, len(boxes) + 1, device=boxes.device)
        if self.spec.all_ties:
            wanted = torch.where(enough, best, 2.0)[:, None]  # no overlap reaches 2
            last = torch.cat([((iou(boxes, priors[c]) == wanted) * rank[:, None]).amax(dim=0) for c in chunks])
        else:
            first = torch.stack([peak.indices + c.start for peak, c in zip(peaks, chunks, strict=True)])[where, rank - 1]
            last = rank.new_zeros(len(priors)).scatter_reduce(0, first[enough], rank[enough], "amax")
        return last > 0, last - 1

    def _ignored_share(self, priors: Tensor, regions: Tensor) -> Tensor:
        """Return the greatest share (A,) of each prior that lies in one region, or of one region that lies in the prior."""
        chunks = self._chunks(priors, len(regions))
        if self.spec.ignore_share_of == "prior":
            return torch.cat([iof(priors[chunk], regions).amax(dim=1) for chunk in chunks])
        return torch.cat([iof(regions, priors[chunk]).amax(dim=0) for chunk in chunks])
