"""Four images around a point, and blends of two such: what makes one training image out of several.

Mosaic: Bochkovskiy et al., "YOLOv4", 2020, section 3.3. On a canvas of twice the frame's sides a point is chosen in the middle
half. Each of four images, fitted to the frame, takes one quadrant, with a corner at the point, and is cut at the canvas's edge.
What is seen is the middle of the canvas, zoomed and shifted, of the frame's size. The canvas is never made: what is visible of
an image is resized once, straight into its place.

Mixup: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018; here of two mosaics, with the objects of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from zoo_core.data.place import Place, View, quadrant
from zoo_core.data.specs import AugmentSpec
from zoo_core.types import Size, Targets

GREY = (114, 114, 114)
"""What lies where no image does: ImageNet's mean as a grey, which the YOLO family pads images with, in training and in use."""
_BETA = 32.0  # of the share of each mosaic in a blend: both stay visible, 0.5 ± 0.06


@dataclass(frozen=True, slots=True)
class Layout:
    """What is random about a mosaic: the images at the upper left, upper right, lower left, lower right, and what is seen."""

    indices: tuple[int, ...]
    view: View


@dataclass(frozen=True, slots=True)
class Plan:
    """What is random about an image: its mosaic, and perhaps a second one that is blended in with a share of `share`."""

    layouts: tuple[Layout, ...]
    share: float = 0.0

    @property
    def indices(self) -> tuple[int, ...]:
        """The images that it takes, in order: four for each mosaic."""
        return tuple(index for layout in self.layouts for index in layout.indices)


class Mosaic:
    """Mosaics of the size `frame`. Built as ``Mosaic(spec, frame)``; holds no tensors."""

    def __init__(self, spec: AugmentSpec, frame: Size) -> None:
        self.spec, self.frame = spec, frame

    def plan(self, index: int, count: int, seed: int) -> Plan | None:
        """Return what image `index` of `count` becomes by a seed; None if it stays alone.

        Drawn in this order: whether there is a mosaic, its layout, whether there is a second one, its first image, its layout,
        the share of the second. A layout: three images, the order of the four, point, zoom, shift. Nothing is drawn later, so
        that the images, and which of them can be read, do not matter.
        """
        random = Random(seed)
        if random.random() >= self.spec.mosaic:
            return None
        layout = self._layout(random, index, count)
        if random.random() >= self.spec.mixup:
            return Plan((layout,))
        return Plan((layout, self._layout(random, random.randrange(count), count)), random.betavariate(_BETA, _BETA))

    def _layout(self, random: Random, index: int, count: int) -> Layout:
        indices = [index, *(random.randrange(count) for _ in range(3))]
        random.shuffle(indices)
        point = random.uniform(0.5, 1.5), random.uniform(0.5, 1.5)
        zoom, most = random.uniform(*self.spec.scale), self.spec.translate
        return Layout(tuple(indices), View(point, zoom, (random.uniform(-most, most), random.uniform(-most, most))))

    def compose(self, plan: Plan, images: Sequence[tuple[Tensor, Targets]]) -> tuple[Tensor, Targets]:
        """Return the image of a plan, uint8 (3, H, W) of the frame's size, and its targets.

        Args:
            plan: what to make.
            images: uint8 (3, h, w) each, with its targets, in the order of ``plan.indices``.
        """
        (picture, targets), *others = (self._mosaic(layout, images[4 * k : 4 * k + 4]) for k, layout in enumerate(plan.layouts))
        for other, more in others:
            picture, targets = Image.blend(picture, other, plan.share), _joined([targets, more])
        return transforms.pil_to_tensor(picture), targets

    def _mosaic(self, layout: Layout, images: Sequence[tuple[Tensor, Targets]]) -> tuple[Image.Image, Targets]:
        height, width = self.frame
        canvas = Image.new("RGB", (width, height), GREY)
        parts = []
        for number, (image, targets) in enumerate(images):
            place = quadrant(number, (image.shape[1], image.shape[2]), self.frame, layout.view)
            if not place.hidden:
                _paste(canvas, image, place)
                parts.append(place.moved(targets, self.spec.min_visible))
        return canvas, _joined(parts)


def _paste(canvas: Image.Image, image: Tensor, place: Place) -> None:
    """Resize what is seen of an image into its place.

    By Pillow, whose source has fractions, and in which the pixels beside it count as they do when the whole is resized.
    """
    picture: Image.Image = transforms.to_pil_image(image)
    size = (place.x.last - place.x.first, place.y.last - place.y.first)
    part = picture.resize(size, Image.Resampling.BILINEAR, box=place.source())
    canvas.paste(part, (place.x.first, place.y.first))


def _joined(parts: Sequence[Targets]) -> Targets:
    parts = [Targets(), *parts]
    return Targets(*(torch.cat([getattr(p, name) for p in parts]) for name in ("boxes", "labels", "ignored", "ignored_labels")))
