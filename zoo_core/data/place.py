"""Where images lie in a view of the canvas of a mosaic, and where their objects then are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zoo_core.data.visible import visible
from zoo_core.ops.boxes import areas
from zoo_core.types import Size, Targets

MIN_SIDE = 2.0
"""In pixels of the view: an object of which less is left cannot be told from any other, and becomes an ignore region."""


@dataclass(frozen=True, slots=True)
class View:
    """Where the images of a mosaic meet, and what is seen of their canvas.

    Attributes:
        point: (y, x) on the canvas where the quadrants meet, in sides of the frame.
        zoom: from the canvas to the view, about the middle.
        shift: (y, x) by which what is seen has moved, in sides of the frame.
    """

    point: tuple[float, float]
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Span:
    """Where an image lies along one axis of the view, in whole pixels: all of it (start … end), and what is seen of it."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image of `size` lies in the view. All maps derive from its rounded place, so pixels and boxes agree exactly."""

    size: Size
    y: Span
    x: Span

    @property
    def hidden(self) -> bool:
        """Whether nothing of it is seen."""
        return self.y.first >= self.y.last or self.x.first >= self.x.last

    def source(self) -> tuple[float, float, float, float]:
        """Return the part of the image that is seen, xyxy in its own pixels, with fractions."""
        (height, width), y, x = self.size, self.y, self.x
        down, right = height / (y.end - y.start), width / (x.end - x.start)
        return (
            (x.first - x.start) * right,
            (y.first - y.start) * down,
            min((x.last - x.start) * right, width),
            min((y.last - y.start) * down, height),
        )

    def moved(self, targets: Targets, min_visible: float) -> Targets:
        """Return the image's targets in the pixels of the view, cut to what is seen of the image."""
        (height, width), y, x = self.size, self.y, self.x
        right, down = (x.end - x.start) / width, (y.end - y.start) / height
        boxes = torch.cat([targets.boxes, targets.ignored])
        boxes = boxes * boxes.new_tensor([right, down, right, down]) + boxes.new_tensor([x.start, y.start, x.start, y.start])
        low, high = boxes.new_tensor([x.first, y.first] * 2), boxes.new_tensor([x.last, y.last] * 2)
        return visible(targets, torch.minimum(torch.maximum(boxes, low), high), areas(boxes), min_visible, MIN_SIDE)


def quadrant(number: int, size: Size, frame: Size, view: View) -> Place:
    """Return the place of an image in a quadrant of a canvas of twice the frame's sides, a corner at the view's point.

    Args:
        number: 0 … 3 for the upper left, upper right, lower left, lower right.
        size: of the image, which is fitted to the frame.
        frame: the size of what is seen.
        view: what is seen of the canvas.
    """
    fit = min(frame[0] / size[0], frame[1] / size[1])
    lower, right = divmod(number, 2)
    y = _span(bool(lower), size[0] * fit, frame[0], view.point[0], view.zoom, view.shift[0])
    x = _span(bool(right), size[1] * fit, frame[1], view.point[1], view.zoom, view.shift[1])
    return Place(size, y, x)


def _span(after: bool, length: float, side: int, point: float, zoom: float, shift: float) -> Span:
    """Return the span of an image of `length` on the canvas, before or after the point."""

    def seen(place: float) -> int:
        return round((place - side) * zoom + (0.5 + shift) * side)

    middle = seen(point * side)
    start = middle if after else min(seen(point * side - length), middle - 1)  # a pixel at least
    end = max(seen(point * side + length), middle + 1) if after else middle
    return Span(start, end, first=max(start, seen(0), 0), last=min(end, seen(2 * side), side))
