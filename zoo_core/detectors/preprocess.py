"""Images as they are to a batch for the network, and detections back to their pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from zoo_core.detectors.specs import KeepRatioSpec, ResizeSpec, StretchSpec
from zoo_core.errors import InputError
from zoo_core.ops.boxes import clip, nonempty
from zoo_core.types import Detections, ImageBatch, Size, Targets

ROUNDING = {"nearest": 0.5, "down": 1e-9, "cut": 0.0}
"""What is added before the fraction is dropped. A side that is exactly the frame's may come out a last bit less: "down" mends
that, "cut" leaves it, and so gives a pixel less now and then, as torchvision's detectors do."""


def fit(size: Size, long_side: int, short_side: int, rounding: float = 0.5) -> Size:
    """Return the size of an image scaled to fit a frame, rounded as ``int(x * factor + rounding)``; no side is less than 1."""
    height, width = size
    factor = min(long_side / max(height, width), short_side / min(height, width))
    return max(int(height * factor + rounding), 1), max(int(width * factor + rounding), 1)


def round_up(size: Size, multiple: int) -> Size:
    """Return the size with both sides rounded up to a multiple."""
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def scale_of(size: Size, original: Size, like: Tensor) -> Tensor:
    """Return the factors (4,) that take a box of the original image to the resized one; one per axis."""
    x, y = size[1] / original[1], size[0] / original[0]
    return like.new_tensor([x, y, x, y])


class Resize(ABC):
    """Resize (bilinear), normalise, pad to a common size. A subclass says to what size.

    Each image lies in a frame of its own, ``padded``, at the upper left of the batch.
    """

    def __init__(self, spec: ResizeSpec) -> None:
        self._pixels = spec

    @property
    @abstractmethod
    def frame(self) -> Size:
        """The (height, width) that an image is fitted into."""

    @abstractmethod
    def fitted(self, original: Size) -> Size:
        """Return the size that an image is resized to."""

    def padded(self, size: Size) -> Size:
        """Return the size that a resized image is padded to."""
        return size

    def origin(self, size: Size, padded: Size) -> Size:  # noqa: ARG002
        """Return the (y, x) at which a resized image lies in its padded frame."""
        return 0, 0

    def padding(self) -> Tensor:
        """Return the colour (3,) of the padding, normalised."""
        return torch.zeros(3)

    def __call__(
        self, images: Sequence[Tensor], targets: Sequence[Targets] | None = None, names: Sequence[str] = ()
    ) -> ImageBatch:
        """Return the batch of images (3, H, W) uint8 RGB, with `targets` scaled along and clipped to the image.

        Targets that are empty then, for they lie outside the image, are left out.
        """
        if not images:
            raise InputError("a batch needs at least one image")
        original = tuple(_size(image) for image in images)
        if targets is not None and len(targets) != len(images):
            raise InputError(f"{len(images)} images with {len(targets)} targets")
        sizes = tuple(self.fitted(size) for size in original)
        padded = tuple(self.padded(size) for size in sizes)
        origins = tuple(self.origin(*pair) for pair in zip(sizes, padded, strict=True))
        tensor = self._stack(images, sizes, origins, (max(h for h, _ in padded), max(w for _, w in padded)))
        batch = ImageBatch(tensor, sizes, padded, original, None, tuple(names), origins)
        if targets is None:
            return batch
        moved = [target.to(tensor.device) for target in targets]
        return replace(batch, targets=tuple(_placed(target, batch, image) for image, target in enumerate(moved)))

    def _stack(self, images: Sequence[Tensor], sizes: Sequence[Size], origins: Sequence[Size], frame: Size) -> Tensor:
        device = images[0].device
        mean = torch.tensor(self._pixels.mean, device=device).view(3, 1, 1)
        std = torch.tensor(self._pixels.std, device=device).view(3, 1, 1)
        batch = self.padding().to(device).repeat(len(images), *frame, 1).permute(0, 3, 1, 2)  # (N, 3, H, W)
        for row, image, size, (top, left) in zip(batch, images, sizes, origins, strict=True):
            if _size(image) != size:
                image = image if self._pixels.whole_levels else image.float()
                image = transforms.resize(image, list(size), antialias=self._pixels.antialias)
            torch.div(image.float().sub_(mean), std, out=row[:, top : top + size[0], left : left + size[1]])
        return batch

    def restore(self, detections: Sequence[Detections], batch: ImageBatch) -> list[Detections]:
        """Return the detections in the pixels of the original images."""
        return [
            Detections(
                (found.boxes - _shift(batch, k, found.boxes)) / _scale(batch, k, found.boxes), found.scores, found.labels
            )
            for k, found in enumerate(detections)
        ]


class KeepRatio(Resize):
    """Resize with the aspect ratio kept to fit a frame; padding at the right and the bottom, or all around.

    Without antialiasing and centring it reproduces MMDetection's Resize(keep_ratio), Normalize and Pad; pixels within one
    level of OpenCV's. Centred on grey it is the "letterbox" of the YOLO family.
    """

    def __init__(self, spec: KeepRatioSpec) -> None:
        super().__init__(spec)
        self.spec = spec

    @property
    def frame(self) -> Size:
        """The square of the longer side: an image may stand upright."""
        return self.spec.long_side, self.spec.long_side

    def fitted(self, original: Size) -> Size:
        """Return the size that an image is resized to."""
        return fit(original, self.spec.long_side, self.spec.short_side, ROUNDING[self.spec.rounding])

    def padded(self, size: Size) -> Size:
        """Return the size rounded up to the multiple."""
        return round_up(size, self.spec.pad_multiple)

    def origin(self, size: Size, padded: Size) -> Size:
        """Return where the image begins: at the corner, or after half of the padding, rounded down."""
        return ((padded[0] - size[0]) // 2, (padded[1] - size[1]) // 2) if self.spec.centred else (0, 0)

    def padding(self) -> Tensor:
        """Return the colour (3,) of the padding, normalised."""
        grey = self.spec.pad_value
        if grey is None:
            return super().padding()
        return (torch.full((3,), grey) - torch.tensor(self.spec.mean)) / torch.tensor(self.spec.std)


class Stretch(Resize):
    """Resize to one size, as Darknet does; the aspect ratio is lost, and no padding needed."""

    def __init__(self, spec: StretchSpec) -> None:
        super().__init__(spec)
        self.spec = spec

    @property
    def frame(self) -> Size:
        """The one size."""
        return self.spec.height, self.spec.width

    def fitted(self, original: Size) -> Size:  # noqa: ARG002
        """Return the one size."""
        return self.frame


def _scale(batch: ImageBatch, image: int, like: Tensor) -> Tensor:
    return scale_of(batch.sizes[image], batch.original[image], like)


def _shift(batch: ImageBatch, image: int, like: Tensor) -> Tensor:
    top, left = batch.origins[image]
    return like.new_tensor([left, top, left, top])


def _placed(targets: Targets, batch: ImageBatch, image: int) -> Targets:
    """Return targets of the original image in the frame of the batch."""

    def place(boxes: Tensor) -> Tensor:
        boxes = boxes.float()
        moved = boxes * _scale(batch, image, boxes) + _shift(batch, image, boxes)
        return clip(moved, batch.sizes[image], batch.origins[image])

    boxes, ignored = place(targets.boxes), place(targets.ignored)
    keep, also = nonempty(boxes), nonempty(ignored)
    return Targets(boxes[keep], targets.labels[keep], ignored[also], targets.ignored_labels[also])


def _size(image: Tensor) -> Size:
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8 or 0 in image.shape:
        raise InputError(f"an image must be uint8 RGB of shape (3, H, W), not {image.dtype} of {tuple(image.shape)}")
    return image.shape[1], image.shape[2]
