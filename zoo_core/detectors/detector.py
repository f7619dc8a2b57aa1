"""What every detector is, whatever its shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, overload

import torch
from torch import Tensor, nn

from zoo_core.detectors.specs import DetectorSpec
from zoo_core.errors import InputError
from zoo_core.images import ImageSource, as_image
from zoo_core.interfaces import Backbone, Neck, Preprocess
from zoo_core.provenance import Provenance
from zoo_core.report import LoadReport
from zoo_core.types import Detections, Features, ImageBatch, Losses, Targets


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, without gradients, for a block; then each of its parts has its own mode again."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes.items():  # not `train(mode)`: a part may have been given a mode of its own
            module.training = mode


class Detector(nn.Module, ABC):
    """Images to detections, or images and targets to losses: the argument decides, not the training mode.

    Attributes:
        spec: the complete options that it was built from.
        class_names: one name per class; they travel with the model.
        recipe: the name of the recipe, or "".
        report: what became of the weights that were last loaded into it; None for a new one.
        provenance: what the weights were trained on, and what they began with; None when nothing is known. It is saved and
            pushed with the model.
    """

    preprocess: Preprocess
    backbone: Backbone
    neck: Neck | None

    def __init__(self, spec: DetectorSpec, class_names: Sequence[str]) -> None:
        super().__init__()
        self.spec = spec
        self.class_names = tuple(class_names)
        self.recipe = ""
        self.report: LoadReport | None = None
        self.provenance: Provenance | None = None

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.parameters()).device

    @overload
    def forward(self, images: ImageBatch | Sequence[Tensor], targets: Sequence[Targets]) -> Losses: ...
    @overload
    def forward(self, images: ImageBatch | Sequence[Tensor], targets: None = None) -> Any: ...
    def forward(self, images: ImageBatch | Sequence[Tensor], targets: Sequence[Targets] | None = None) -> Any:
        """Return losses when there are targets, detections in the pixels of the original images when there are none.

        Args:
            images: uint8 RGB images (3, H, W), or a batch that `preprocess` made, with or without targets in it.
            targets: one per image, boxes in the pixels of that image.
        """
        batch = self._batch(images, targets)
        if batch.targets is None:
            with torch.no_grad():
                return self.preprocess.restore(self.detect(batch), batch)
        return self.losses(batch)

    @abstractmethod
    def losses(self, batch: ImageBatch) -> Losses:
        """Return the losses against ``batch.targets``."""

    @abstractmethod
    def detect(self, batch: ImageBatch) -> list[Detections]:
        """Return the detections in the frame of the batch."""

    def class_rows(self) -> dict[str, Tensor]:
        """Return the class that each row of a parameter answers for, by the parameter's name; see `DenseHead.class_rows`."""
        return {}

    def features(self, batch: ImageBatch) -> Features:
        """Return the feature maps that the heads look at."""
        features: Features = self.backbone(batch.tensor)
        return features if self.neck is None else self.neck(features)

    def _batch(self, images: ImageBatch | Sequence[Tensor], targets: Sequence[Targets] | None) -> ImageBatch:
        if isinstance(images, ImageBatch):
            if targets is not None:
                raise InputError("a ready ImageBatch holds its own targets; give them to `preprocess`")
            return images.to(self.device)
        one: Any = images
        if isinstance(one, Tensor) and one.ndim == 3:
            raise InputError("forward takes several images; for one write model([image])")
        given = list(images) if isinstance(images, Iterable) else [images]
        strange = [image for image in given if not isinstance(image, Tensor)]
        if strange:
            raise InputError(f"forward takes tensors, not a {type(strange[0]).__name__}; `predict` takes paths and pictures")
        for number, target in enumerate(targets or ()):
            self._check(target, number)
        return self.preprocess([image.to(self.device) for image in given], targets)

    def _check(self, target: Targets, number: int) -> None:
        if not isinstance(target, Targets):
            raise InputError(f"targets are Targets, one per image, not a {type(target).__name__}")
        wrong = target.labels[(target.labels < 0) | (target.labels >= self.spec.num_classes)]
        if len(wrong):
            raise InputError(f"image {number}: labels must lie in 0 … {self.spec.num_classes - 1}, got {int(wrong[0])}")
        boxes = torch.cat([target.boxes, target.ignored])
        bad = boxes[~(boxes.isfinite().all(dim=1) & (boxes[:, :2] <= boxes[:, 2:]).all(dim=1))]
        if len(bad):
            box = bad[0].tolist()
            raise InputError(f"image {number}: a box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, all finite, not {box}")

    def predict(
        self, images: ImageSource | Sequence[ImageSource], *, score: float = 0.0, batch_size: int = 1
    ) -> list[Detections]:
        """Return the detections of images, boxes in the pixels of each image, on the CPU, best first.

        Args:
            images: one image or several: a path, a PIL image, an array (H, W, 3) or a tensor (3, H, W), uint8 RGB.
            score: only detections with a score above this are returned.
            batch_size: how many images go through the network together.

        Raises:
            DataError: a file that is missing or no image.
            InputError: an array or tensor of another type or shape.
        """
        if not isinstance(score, float | int) or not 0 <= score <= 1:
            raise InputError(f"score must be a number from 0 to 1, not {score!r}")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size must be 1 or more, not {batch_size}")
        several = isinstance(images, Sequence) and not isinstance(images, str)
        sources: list[ImageSource] = list(images) if several else [images]  # type: ignore[arg-type,list-item]
        found: list[Detections] = []
        with inference(self):
            for start in range(0, len(sources), batch_size):
                loaded = [as_image(source) for source in sources[start : start + batch_size]]
                found += [detections.to("cpu").above(score) for detections in self(loaded)]
        return found
