"""The shape of a one-stage detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from zoo_core.detectors.detector import Detector
from zoo_core.detectors.specs import OneStageSpec
from zoo_core.interfaces import Backbone, DenseHead, Neck, Preprocess
from zoo_core.types import Detections, ImageBatch, Losses


class OneStage(Detector):
    """Backbone, neck, and a dense head whose detections are the result."""

    def __init__(
        self,
        spec: OneStageSpec,
        class_names: Sequence[str],
        *,
        preprocess: Preprocess,
        backbone: Backbone,
        neck: Neck | None,
        head: DenseHead[Any],
    ) -> None:
        super().__init__(spec, class_names)
        self.preprocess, self.backbone, self.neck, self.head = preprocess, backbone, neck, head

    def class_rows(self) -> dict[str, Tensor]:
        """Return the rows of classes in the head."""
        return {f"head.{name}": rows for name, rows in self.head.class_rows().items()}

    def losses(self, batch: ImageBatch) -> Losses:
        """Return the losses of the head."""
        return self.head.losses(self.head(self.features(batch)), batch)

    def detect(self, batch: ImageBatch) -> list[Detections]:
        """Return the detections of the head."""
        return self.head.decode(self.head(self.features(batch)), batch)
