"""Random changes of training images. tv_tensors do not leave this module."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from zoo_core.data.specs import AugmentSpec
from zoo_core.types import Targets

_GREY = (124, 116, 104)  # what zooming out lays around an image: ImageNet's mean


class Augment:
    """Flip, zoom and recolour, as a function of a seed. Built as ``Augment(spec)``; holds no tensors."""

    def __init__(self, spec: AugmentSpec) -> None:
        self.spec = spec

    def __call__(self, image: Tensor, targets: Targets, seed: int) -> tuple[Tensor, Targets]:
        """Return the image (3, H, W), uint8 and of the same size, and its targets, changed alike.

        Args:
            image: uint8 (3, H, W).
            targets: in the pixels of the image.
            seed: the same seed makes the same changes; the random state of the process is left as it was.
        """
        height, width = image.shape[1:]
        boxes = tv_tensors.BoundingBoxes(
            torch.cat([targets.boxes, targets.ignored]), format="XYXY", canvas_size=(height, width)
        )
        picture = tv_tensors.Image(image)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would set the accelerators' generators, too
            picture, boxes = self._flip_and_recolour(picture, boxes)
            whole = _areas(boxes)
            if self.spec.scale != (1.0, 1.0):
                picture, boxes, whole = self._zoom(picture, boxes)
        return picture.as_subclass(Tensor), self._visible(targets, boxes.as_subclass(Tensor), whole)

    def _flip_and_recolour(
        self, picture: tv_tensors.Image, boxes: tv_tensors.BoundingBoxes
    ) -> tuple[tv_tensors.Image, tv_tensors.BoundingBoxes]:
        picture, boxes = v2.RandomHorizontalFlip(self.spec.flip)(picture, boxes)
        if torch.rand(()) < self.spec.photometric:
            picture = v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05)(picture)
        return picture, boxes

    def _zoom(
        self, picture: tv_tensors.Image, boxes: tv_tensors.BoundingBoxes
    ) -> tuple[tv_tensors.Image, tv_tensors.BoundingBoxes, Tensor]:
        """Return the zoomed image at the size it had, its boxes, and the areas (N,) that they had before cropping."""
        height, width = picture.shape[1:]
        low, high = (max(factor, 2 / min(height, width)) for factor in self.spec.scale)  # leaves a pixel at least
        # a square target makes the jitter's factor the scale itself
        picture, boxes = v2.ScaleJitter((max(height, width),) * 2, (low, high))(picture, boxes)
        whole = _areas(boxes)
        crop = v2.RandomCrop((height, width), pad_if_needed=True, fill={tv_tensors.Image: _GREY, "others": 0})
        picture, boxes = crop(picture, boxes)
        return picture, boxes, whole

    def _visible(self, targets: Targets, boxes: Tensor, whole: Tensor) -> Targets:
        """Return the targets with their changed `boxes` (N + M, 4), without those that have left the image."""
        left = _areas(boxes)
        objects, regions = boxes[: len(targets)], boxes[len(targets) :]
        enough = (left >= self.spec.min_visible * whole) & (left > 0)
        kept = enough[: len(targets)]
        lost = ~kept & (left[: len(targets)] > 0)
        there = left[len(targets) :] > 0
        return Targets(
            objects[kept],
            targets.labels[kept],
            torch.cat([regions[there], objects[lost]]),
            torch.cat([targets.ignored_labels[there], targets.labels[lost]]),
        )


def _areas(boxes: Tensor) -> Tensor:
    boxes = boxes.as_subclass(Tensor)
    return (boxes[:, 2] - boxes[:, 0]).clamp(min=0) * (boxes[:, 3] - boxes[:, 1]).clamp(min=0)
