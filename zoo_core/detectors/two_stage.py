"""The shape of a two-stage detector (Ren et al., "Faster R-CNN", 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo_core.detectors.detector import Detector
from zoo_core.detectors.specs import TwoStageSpec
from zoo_core.interfaces import Backbone, DenseHead, Neck, Preprocess, RoIHead
from zoo_core.types import ANY_LABEL, Detections, ImageBatch, Losses, Targets


class TwoStage(Detector):
    """Backbone, neck, a dense head of one class that proposes, and an RoI head that decides."""

    def __init__(
        self,
        spec: TwoStageSpec,
        class_names: Sequence[str],
        *,
        preprocess: Preprocess,
        backbone: Backbone,
        neck: Neck | None,
        proposer: DenseHead[Any],
        roi_head: RoIHead,
    ) -> None:
        super().__init__(spec, class_names)
        self.preprocess, self.backbone, self.neck = preprocess, backbone, neck
        self.proposer, self.roi_head = proposer, roi_head

    def class_rows(self) -> dict[str, Tensor]:
        """Return the rows of classes in the RoI head; the proposer knows but one class, which stays what it is."""
        return {f"roi_head.{name}": rows for name, rows in self.roi_head.class_rows().items()}

    def losses(self, batch: ImageBatch) -> Losses:
        """Return the losses of both stages."""
        features = self.features(batch)
        raw = self.proposer(features)
        proposals = self.proposer.decode(raw, batch)
        return named("proposer", self.proposer.losses(raw, as_objects(batch))) | named(
            "roi_head", self.roi_head.losses(features, proposals, batch)
        )

    def detect(self, batch: ImageBatch) -> list[Detections]:
        """Return the detections of the second stage."""
        features = self.features(batch)
        proposals = self.proposer.decode(self.proposer(features), batch)
        return self.roi_head.detect(features, proposals, batch)


def as_objects(batch: ImageBatch) -> ImageBatch:
    """Return the batch with all targets of the one class that a proposer knows: object."""
    return replace(batch, targets=tuple(_as_objects(targets) for targets in batch.targets or ()))


def _as_objects(targets: Targets) -> Targets:
    anything = torch.full_like(targets.ignored_labels, ANY_LABEL)
    return replace(targets, labels=torch.zeros_like(targets.labels), ignored_labels=anything)


def named(prefix: str, losses: Losses) -> Losses:
    """Return the losses with a prefix to each name."""
    return {f"{prefix}.{name}": value for name, value in losses.items()}
