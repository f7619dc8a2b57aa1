"""The annotations of one image, collected one at a time and checked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_core.types import ANY_LABEL, Size, Targets

Box = tuple[float, float, float, float]


class BadBoxError(ValueError):
    """A box that marks nothing in its image. Formats turn it into a `DataError` that says where it stands."""


def clipped(box: Sequence[float], size: Size) -> Box:
    """Return the part of an xyxy box inside an image of `size`; raise `BadBoxError` where nothing is left."""
    x1, y1, x2, y2 = box
    height, width = size
    shown = f"({x1:g}, {y1:g}, {x2:g}, {y2:g})"
    if not all(map(math.isfinite, box)):
        raise BadBoxError(f"the box {shown} has a coordinate that is not a finite number")
    if x2 <= x1 or y2 <= y1:
        raise BadBoxError(f"the box {shown} has no area")
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        raise BadBoxError(f"the box {shown} lies outside its image of {width} x {height} pixels")
    return inside


class Annotations:
    """Objects and ignore regions of one image. Boxes are xyxy, clipped to the image on the way in."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._boxes: list[Box] = []
        self._labels: list[int] = []
        self._areas: list[float] = []
        self._ignored: list[Box] = []
        self._ignored_labels: list[int] = []

    def add(self, box: Sequence[float], label: int, area: float | None = None) -> None:
        """Add an object; `area` in square pixels is that of the box where it is not stated."""
        x1, y1, x2, y2 = inside = clipped(box, self._size)
        self._boxes.append(inside)
        self._labels.append(label)
        self._areas.append((x2 - x1) * (y2 - y1) if area is None else area)

    def ignore(self, box: Sequence[float], label: int = ANY_LABEL) -> None:
        """Add a region in which nothing is known about `label`."""
        self._ignored.append(clipped(box, self._size))
        self._ignored_labels.append(label)

    def targets(self) -> Targets:
        """Return what was collected."""
        return Targets(
            torch.tensor(self._boxes, dtype=torch.float32).reshape(-1, 4),
            torch.tensor(self._labels, dtype=torch.int64),
            torch.tensor(self._ignored, dtype=torch.float32).reshape(-1, 4),
            torch.tensor(self._ignored_labels, dtype=torch.int64),
        )

    def areas(self) -> Tensor:
        """Return the areas (N,) of the objects, in double precision: they are compared with thresholds."""
        return torch.tensor(self._areas, dtype=torch.float64)
