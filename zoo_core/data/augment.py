"""Random changes of training images. tv_tensors do not leave this module."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from zoo_core.data.colour import scale_hsv
from zoo_core.data.specs import AugmentSpec
from zoo_core.data.visible import visible
from zoo_core.types import Targets

_GREY = (124, 116, 104)  # what zooming out lays around an image: ImageNet's mean


class Augment:
    """Flip, recolour, zoom and shift, as a function of a seed. Built as ``Augment(spec)``; holds no tensors.

    The options `mosaic` and `mixup` take several images: see `zoo_core.data.mosaic`.
    """

    def __init__(self, spec: AugmentSpec) -> None:
        self.spec = spec

    def in_place(self) -> Augment:
        """Return the same without zoom and shift, for a mosaic, which has its own."""
        return Augment(self.spec.model_copy(update={"scale": (1.0, 1.0), "translate": 0.0}))

    def __call__(self, image: Tensor, targets: Targets, seed: int) -> tuple[Tensor, Targets]:
        """Return the image (3, H, W), uint8 and of the same size, and its targets, changed alike.

        Args:
            image: uint8 (3, H, W).
            targets: in the pixels of the image.
            seed: the same seed makes the same changes; the random state of the process is left as it was. Drawn in this
                order, each only if its option is on: flip, photometric, zoom, place of the zoomed image, shift, hsv.
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
            if self.spec.scale != (1.0, 1.0) or self.spec.translate:
                picture, boxes, whole = self._zoom(picture, boxes)
            image = picture.as_subclass(Tensor)
            if any(self.spec.hsv):
                image = scale_hsv(image, *(_around_one(part) for part in self.spec.hsv))
        return image, visible(targets, boxes.as_subclass(Tensor), whole, self.spec.min_visible)

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
        """Return the zoomed and shifted image at the size it had, its boxes, and the areas (N,) that they had uncut."""
        height, width = picture.shape[1:]
        if self.spec.scale != (1.0, 1.0):
            low, high = (max(factor, 2 / min(height, width)) for factor in self.spec.scale)  # leaves a pixel at least
            # a square target makes the jitter's factor the scale itself
            picture, boxes = v2.ScaleJitter((max(height, width),) * 2, (low, high))(picture, boxes)
        whole = _areas(boxes)
        top, left = _start(picture.shape[1], height), _start(picture.shape[2], width)
        if self.spec.translate:
            down, right = (2 * torch.rand(2) - 1).mul_(self.spec.translate).tolist()
            top, left = top - round(down * height), left - round(right * width)
        beside = [max(-left, 0), max(-top, 0), max(left + width - picture.shape[2], 0), max(top + height - picture.shape[1], 0)]
        window = (top + beside[1], left + beside[0], height, width)
        picture = v2.functional.crop(v2.functional.pad(picture, beside, fill=list(_GREY)), *window)
        boxes = v2.functional.crop(v2.functional.pad(boxes, beside), *window)
        return picture, boxes, whole


def _start(length: int, side: int) -> int:
    """Return where a window of `side` begins on a zoomed image: anywhere inside it, or, if that is smaller, around it."""
    spare = length - side
    return min(spare, 0) + int(torch.randint(abs(spare) + 1, ())) if spare else 0


def _around_one(part: float) -> float:
    return 1 + part * (2 * float(torch.rand(())) - 1)


def _areas(boxes: Tensor) -> Tensor:
    boxes = boxes.as_subclass(Tensor)
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
