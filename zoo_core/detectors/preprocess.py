"""Images as they are to a batch for the network, and detections back to their pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from zoo_core.detectors.specs import KeepRatioSpec
from zoo_core.errors import InputError
from zoo_core.ops.boxes import clip, nonempty
from zoo_core.types import Detections, ImageBatch, Size, Targets


def fit(size: Size, long_side: int, short_side: int) -> Size:
    """Return the size of an image scaled to fit a frame, rounded as ``int(x * factor + 0.5)``; no side is less than 1."""
    height, width = size
    factor = min(long_side / max(height, width), short_side / min(height, width))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def round_up(size: Size, multiple: int) -> Size:
    """Return the size with both sides rounded up to a multiple."""
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def scale_of(size: Size, original: Size, like: Tensor) -> Tensor:
    """Return the factors (4,) that take a box of the original image to the resized one; one per axis."""
    x, y = size[1] / original[1], size[0] / original[0]
    return like.new_tensor([x, y, x, y])


class KeepRatio:
    """Resize (bilinear, no antialiasing), normalise, pad with zeros to a common size.

    Reproduces MMDetection's Resize(keep_ratio), Normalize and Pad; pixels within one level of OpenCV's.
    """

    def __init__(self, spec: KeepRatioSpec) -> None:
        self.spec = spec

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
        sizes = tuple(fit(size, self.spec.long_side, self.spec.short_side) for size in original)
        padded = tuple(round_up(size, self.spec.pad_multiple) for size in sizes)
        tensor = self._stack(images, sizes, (max(h for h, _ in padded), max(w for _, w in padded)))
        scaled = None
        if targets is not None:
            moved = (target.to(tensor.device) for target in targets)
            scaled = tuple(_scaled(t, size, old) for t, size, old in zip(moved, sizes, original, strict=True))
        return ImageBatch(tensor, sizes, padded, original, scaled, tuple(names))

    def _stack(self, images: Sequence[Tensor], sizes: Sequence[Size], frame: Size) -> Tensor:
        mean = torch.tensor(self.spec.mean, device=images[0].device).view(3, 1, 1)
        std = torch.tensor(self.spec.std, device=images[0].device).view(3, 1, 1)
        batch = torch.zeros(len(images), *frame, 3, device=images[0].device).permute(0, 3, 1, 2)  # (N, 3, H, W)
        for row, image, (height, width) in zip(batch, images, sizes, strict=True):
            resized = image if _size(image) == (height, width) else transforms.resize(image, [height, width], antialias=False)
            torch.div(resized.float().sub_(mean), std, out=row[:, :height, :width])
        return batch

    def restore(self, detections: Sequence[Detections], batch: ImageBatch) -> list[Detections]:
        """Return the detections in the pixels of the original images."""
        return [
            Detections(found.boxes / scale_of(size, old, found.boxes), found.scores, found.labels)
            for found, size, old in zip(detections, batch.sizes, batch.original, strict=True)
        ]


def _scaled(targets: Targets, size: Size, original: Size) -> Targets:
    scale = scale_of(size, original, targets.boxes.float())
    boxes, ignored = clip(targets.boxes.float() * scale, size), clip(targets.ignored.float() * scale, size)
    keep, also = nonempty(boxes), nonempty(ignored)
    return Targets(boxes[keep], targets.labels[keep], ignored[also], targets.ignored_labels[also])


def _size(image: Tensor) -> Size:
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8 or 0 in image.shape:
        raise InputError(f"an image must be uint8 RGB of shape (3, H, W), not {image.dtype} of {tuple(image.shape)}")
    return image.shape[1], image.shape[2]
