"""Drawn scenes of coloured shapes: pictures for tests and first steps, with boxes that are exact by construction."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from zoo_core.types import Size, Targets

Point: TypeAlias = tuple[float, float]
Pixels: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

CLASSES = ("circle", "square", "triangle")

_FINE = 8  # masks are drawn this many times larger, then averaged
_MARGIN = 6  # pixels around a shape that its shadow may reach
_MAX_OVERLAP = 0.25  # of the smaller of two boxes


@dataclass(frozen=True, slots=True)
class Shape:
    """A filled outline in the pixels of its scene. A circle is a polygon of many corners."""

    label: int
    corners: tuple[Point, ...]
    hue: float
    saturation: float
    value: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The smallest xyxy box around it."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def mask(self, scale: float = 1.0) -> tuple[Pixels, tuple[int, int]]:
        """Return the share of each pixel that is covered (h, w), 0 … 1, and the (x, y) of its first pixel.

        Args:
            scale: shrinks the shape about the centre of its box.
        """
        x1, y1, x2, y2 = self.box
        left, top = math.floor(x1) - _MARGIN, math.floor(y1) - _MARGIN
        width, height = math.ceil(x2) + _MARGIN - left, math.ceil(y2) + _MARGIN - top
        mx, my = (x1 + x2) / 2, (y1 + y2) / 2
        points = [((mx + (x - mx) * scale - left) * _FINE, (my + (y - my) * scale - top) * _FINE) for x, y in self.corners]
        canvas = Image.new("L", (width * _FINE, height * _FINE))
        ImageDraw.Draw(canvas).polygon(points, fill=255)
        return _share(canvas, _FINE), (left, top)

    def paint(self, canvas: Pixels) -> None:
        """Draw the shape with its shadow and its rim onto `canvas` (H, W, 3), 0 … 255, in place."""
        mask, (left, top) = self.mask()
        inner, _ = self.mask(scale=0.86)
        height, width = mask.shape
        rows = slice(max(top, 0), min(top + height, canvas.shape[0]))
        columns = slice(max(left, 0), min(left + width, canvas.shape[1]))
        own = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        shadow = Image.fromarray((np.roll(mask, (2, 2), (0, 1)) * 90).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))
        light = np.linspace(1.12, 0.85, height, dtype=np.float32)[:, None, None]
        face = np.clip(_colour(self.hue, self.saturation, self.value) * light, 0, 255)
        rim = _colour(self.hue, min(self.saturation * 1.15, 1), self.value * 0.6)
        part = canvas[rows, columns] * (1 - np.asarray(shadow, dtype=np.float32)[own][..., None] / 255)
        part += (rim - part) * mask[own][..., None]
        canvas[rows, columns] = part + (face[own[0]] - part) * inner[own][..., None]


@dataclass(frozen=True, slots=True)
class Scene:
    """Shapes before a background, all of it a function of `seed`."""

    size: Size
    shapes: tuple[Shape, ...]
    seed: str

    def targets(self) -> Targets:
        """Return a box and a label for each shape."""
        return Targets(
            torch.tensor([shape.box for shape in self.shapes], dtype=torch.float32).reshape(-1, 4),
            torch.tensor([shape.label for shape in self.shapes], dtype=torch.int64),
        )

    def draw(self) -> Tensor:
        """Return the picture as uint8 RGB (3, H, W)."""
        canvas = _background(self.size, Random(f"{self.seed}/background"))
        for shape in self.shapes:
            shape.paint(canvas)
        grain = np.random.default_rng(Random(f"{self.seed}/grain").getrandbits(32))
        canvas += grain.standard_normal((*self.size, 1), dtype=np.float32) * 3
        return torch.from_numpy(canvas.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1)


def compose(seed: str) -> Scene:
    """Return the scene of a seed: one to six shapes of different kinds, sizes, colours and directions."""
    random = Random(seed)
    size = (random.randrange(144, 185, 8), random.randrange(192, 257, 8))
    shapes: list[Shape] = []
    for _ in range(random.randint(1, 6)):
        for _ in range(20):  # tries to find a free place
            shape = _shape(random, size)
            if all(_overlap(shape, other) <= _MAX_OVERLAP for other in shapes):
                shapes.append(shape)
                break
    return Scene(size, tuple(shapes), seed)


def _shape(random: Random, size: Size) -> Shape:
    label = random.randrange(len(CLASSES))
    radius = 10 * 3.6 ** random.random()  # 10 … 36 pixels, small ones as often as large ones
    turn = random.uniform(0, 2 * math.pi)
    if CLASSES[label] == "circle":
        angles = [2 * math.pi * k / 64 for k in range(64)]
    elif CLASSES[label] == "square":
        half = math.pi / 4 + random.uniform(-0.12, 0.12)  # half the angle that a side is seen under
        angles = [turn + half, turn + math.pi - half, turn + math.pi + half, turn - half]
    else:
        angles = [turn + 2 * math.pi * k / 3 + random.uniform(-0.25, 0.25) for k in range(3)]
    points = [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]
    xs, ys = zip(*points, strict=True)
    x = random.uniform(1 - min(xs), size[1] - 1 - max(xs))
    y = random.uniform(1 - min(ys), size[0] - 1 - max(ys))
    corners = tuple((x + px, y + py) for px, py in points)
    return Shape(label, corners, random.random(), random.uniform(0.55, 0.9), random.uniform(0.7, 0.98))


def _overlap(a: Shape, b: Shape) -> float:
    """Return the share of the smaller box that lies in the other."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.box, b.box
    common = max(min(ax2, bx2) - max(ax1, bx1), 0) * max(min(ay2, by2) - max(ay1, by1), 0)
    return common / min((ax2 - ax1) * (ay2 - ay1), (bx2 - bx1) * (by2 - by1))


def _share(mask: Image.Image, fine: int) -> Pixels:
    """Return the share of each pixel (h, w) that a mask drawn `fine` times larger covers, 0 … 1."""
    share: Pixels = np.asarray(mask.reduce(fine), dtype=np.float32) / np.float32(255)
    return share


def _colour(hue: float, saturation: float, value: float) -> Pixels:
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), dtype=np.float32) * 255


def _background(size: Size, random: Random) -> Pixels:
    """Return a gradient of two muted colours with blurred spots and thin lines (H, W, 3), 0 … 255."""
    height, width = size
    hue = random.random()
    first = _colour(hue, random.uniform(0.05, 0.3), random.uniform(0.35, 0.95))
    second = _colour(hue + random.uniform(-0.15, 0.15), random.uniform(0.05, 0.3), random.uniform(0.35, 0.95))
    angle = random.uniform(0, 2 * math.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    slope = ((x * math.cos(angle) + y * math.sin(angle)) / 2.9 + 0.5)[..., None]
    canvas: Pixels = first + (second - first) * slope
    spots = np.array([random.uniform(-14, 14) for _ in range(48)], dtype=np.float32).reshape(6, 8)
    canvas += np.asarray(Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC))[..., None]
    lines = Image.new("L", (width * 2, height * 2))
    for _ in range(random.randint(0, 8)):
        ends = [random.uniform(-0.2, 1.2) * side * 2 for side in (width, height, width, height)]
        ImageDraw.Draw(lines).line(ends, fill=random.randint(30, 110), width=random.randint(1, 4))
    ink = _colour(random.random(), random.uniform(0.1, 0.5), random.choice((0.15, 1.0)))
    canvas += (ink - canvas) * _share(lines, 2)[..., None]
    return canvas
