"""Assignment by greatest overlap (Ren et al., "Faster R-CNN", 2015, section 3.1.2), with MMDetection's rules for ties."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    part in this. The result does not depend on the memory budget: the priors are looked at in chunks, and once more when
    low-quality matches are wanted.
    """

    def __init__(self, spec: MaxIoUSpec) -> None:
        self.spec = spec

    def __call__(
        self,
        priors: Tensor,
        targets: Targets,
        predictions: Detections | None = None,  # noqa: ARG002
        strides: Tensor | None = None,  # noqa: ARG002
    ) -> Assignment:
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
        overlaps = Overlaps(boxes, self._chunks(priors, len(boxes)))
        parts = [(matrix.max(dim=0), matrix.amax(dim=1)) for _, matrix in overlaps]
        best = torch.cat([prior.values for prior, _ in parts])  # (A,)
        owner = torch.cat([prior.indices for prior, _ in parts])
        positive = best >= spec.positive
        if spec.low_quality:
            target, prior = self._low_quality(overlaps, torch.stack([peak for _, peak in parts]).amax(dim=0))
            rescuer = torch.full_like(owner, -1).scatter_reduce(0, prior, target, "amax")  # the last one
            owner = torch.where(rescuer >= 0, rescuer, owner)
            positive |= rescuer >= 0
        chosen = positive.nonzero().squeeze(1)
        return Assignment(chosen, owner[chosen], ~(positive | (best >= low) & (best < high)))

    def _chunks(self, priors: Tensor, boxes: int) -> Sequence[Tensor]:
        return torch.split(priors, max(self.spec.budget_mib * 2**20 // (4 * FLOATS_PER_PAIR * boxes), 1))

    def _low_quality(self, overlaps: Overlaps, best: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pairs of a target (P,) and a prior (P,) with its `best` (G,) overlap."""
        enough = (best >= self.spec.least_low_quality) & (best > 0)
        wanted = torch.where(enough, best, 2.0)[:, None]  # no overlap reaches 2
        pairs = [((matrix == wanted).nonzero(), start) for start, matrix in overlaps]
        target = torch.cat([pair[:, 0] for pair, _ in pairs])
        prior = torch.cat([pair[:, 1] + start for pair, start in pairs])
        if self.spec.all_ties:
            return target, prior
        first = torch.full_like(wanted[:, 0], torch.iinfo(torch.int64).max, dtype=torch.int64)
        first = first.scatter_reduce(0, target, prior, "amin")
        return target[prior == first[target]], prior[prior == first[target]]

    def _ignored_share(self, priors: Tensor, regions: Tensor) -> Tensor:
        """Return the greatest share (A,) of each prior that lies in one region, or of one region that lies in the prior."""
        chunks = self._chunks(priors, len(regions))
        if self.spec.ignore_share_of == "prior":
            return torch.cat([iof(chunk, regions).amax(dim=1) for chunk in chunks])
        return torch.cat([iof(regions, chunk).amax(dim=0) for chunk in chunks])


class Overlaps:
    """The overlaps (G, chunk) of boxes with priors, chunk by chunk; kept for the next time when there is but one chunk."""

    def __init__(self, boxes: Tensor, chunks: Sequence[Tensor]) -> None:
        self.boxes, self.chunks = boxes, chunks
        self.kept = iou(boxes, chunks[0]) if len(chunks) == 1 else None

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the index of each chunk's first prior, and the overlaps."""
        start = 0
        for chunk in self.chunks:
            yield start, iou(self.boxes, chunk) if self.kept is None else self.kept
            start += len(chunk)
