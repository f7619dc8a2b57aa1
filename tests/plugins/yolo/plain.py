"""The YOLO family's rules once more, place by place in plain Python, from the formulas; and scenes for them.

Coordinates are multiples of 1/16 pixel, so that single precision holds them, their halves and their differences exactly: the
rules about cell borders are tested without a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core.types import Targets

Box = Sequence[float]
STRIDES = (8, 16, 32)
ANCHORS = (((10.0, 13.0), (16.0, 30.0)), ((30.0, 61.0), (62.0, 45.0), (59.0, 58.0)), ((70.0, 50.0),))
FRAME = (64, 96)


@dataclass(frozen=True)
class Place:
    """An anchor of a cell."""

    level: int
    stride: int
    x: int
    y: int
    anchor: int
    width: float
    height: float

    def box(self) -> list[float]:
        x, y = (self.x + 0.5) * self.stride, (self.y + 0.5) * self.stride
        return [x - self.width / 2, y - self.height / 2, x + self.width / 2, y + self.height / 2]


def places(
    anchors: Sequence[Sequence[tuple[float, float]]] = ANCHORS,
    strides: Sequence[int] = STRIDES,
    frame: tuple[int, int] = FRAME,
) -> list[Place]:
    """Return all places of all maps, in the order of the priors."""
    return [
        Place(level, stride, x, y, number, *size)
        for level, (stride, own) in enumerate(zip(strides, anchors, strict=True))
        for y in range(math.ceil(frame[0] / stride))
        for x in range(math.ceil(frame[1] / stride))
        for number, size in enumerate(own)
    ]


def priors(found: Sequence[Place]) -> tuple[Tensor, Tensor]:
    """Return the priors (A, 4) and their strides (A,)."""
    return torch.tensor([place.box() for place in found]), torch.tensor([place.stride for place in found])


def targets(count: int, seed: int, *, classes: int = 3, frame: tuple[int, int] = FRAME, ignored: int = 0) -> Targets:
    """Return random targets from one pixel to the whole frame; many centres lie on the borders of cells."""
    random = torch.rand(count + ignored, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    limits = torch.tensor([frame[1], frame[0]], dtype=torch.float64)
    sides = (16 * (1 + random[:, 2:] ** 2 * (limits - 1))).floor() / 16
    corner = (16 * random[:, :2] * (limits - sides)).floor() / 16
    on_border = torch.arange(len(corner)) % 3 == 0
    sides[on_border], corner[on_border] = (sides[on_border] / 2).ceil() * 2, (corner[on_border] / 4).floor() * 4
    boxes = torch.cat([corner, torch.minimum(corner + sides, limits)], dim=1).float()
    labels = torch.arange(count) % classes
    return Targets(boxes[:count], labels, boxes[count:], torch.full((ignored,), -1))


def shape_match(found: Sequence[Place], boxes: Tensor, ratio: float, neighbours: float) -> set[tuple[int, int]]:
    """Return the pairs of a place and a target."""
    return {
        (number, target)
        for number, place in enumerate(found)
        for target, box in enumerate(boxes.tolist())
        if near(place, box, neighbours) and alike(place, box, ratio)
    }


def near(place: Place, box: Box, neighbours: float) -> bool:
    """Say whether a target's centre lies in the cell, or close enough beside it."""
    x, y = (box[0] + box[2]) / 2 / place.stride, (box[1] + box[3]) / 2 / place.stride
    in_column, in_row = place.x <= x < place.x + 1, place.y <= y < place.y + 1
    return (in_column and (in_row or beside(place.y, y, neighbours))) or (in_row and beside(place.x, x, neighbours))


def beside(cell: int, position: float, neighbours: float) -> bool:
    """Say whether a position lies in the next cell, nearer than `neighbours` to this one."""
    if cell + 1 <= position < cell + 2:
        return position - (cell + 1) < neighbours
    return cell - 1 <= position < cell and cell - position < neighbours


def alike(place: Place, box: Box, ratio: float) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    sides = (width / place.width, place.width / width, height / place.height, place.height / height)
    return max(sides) < ratio


def anchor_iou(found: Sequence[Place], boxes: Tensor, least: float) -> set[tuple[int, int]]:
    """Return the pairs of a place and a target: of all anchors of all maps the best one, and those above `least`."""
    anchors = {(place.width, place.height) for place in found}
    pairs = set()
    for target, box in enumerate(boxes.tolist()):
        width, height = box[2] - box[0], box[3] - box[1]
        overlaps = {anchor: iou((0, 0, *anchor), (0, 0, width, height), centred=True) for anchor in anchors}
        wanted = {anchor for anchor, value in overlaps.items() if value > least or value == max(overlaps.values())}
        for number, place in enumerate(found):
            x, y = (box[0] + box[2]) / 2 / place.stride, (box[1] + box[3]) / 2 / place.stride
            if (place.width, place.height) in wanted and place.x <= x < place.x + 1 and place.y <= y < place.y + 1:
                pairs.add((number, target))
    return pairs


def shared_area(a: Box, b: Box, *, centred: bool = False) -> float:
    if centred:
        return min(a[2] - a[0], b[2] - b[0]) * min(a[3] - a[1], b[3] - b[1])
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box, *, centred: bool = False) -> float:
    both = shared_area(a, b, centred=centred)
    return both / (area(a) + area(b) - both)


def complete_iou(a: Box, b: Box) -> float:
    """Return the complete IoU ("Distance-IoU loss", equations 8 to 11)."""
    overlap = iou(a, b)
    across = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    apart = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    shapes = 4 / math.pi**2 * (math.atan2(b[2] - b[0], b[3] - b[1]) - math.atan2(a[2] - a[0], a[3] - a[1])) ** 2
    weight = shapes / (1 - overlap + shapes) if shapes else 0.0
    return overlap - apart / across - weight * shapes


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def cross_entropy(logit: float, goal: float) -> float:
    return -goal * math.log(sigmoid(logit)) - (1 - goal) * math.log(1 - sigmoid(logit))


def predicted(place: Place, logits: Sequence[float], box: str, scale: float) -> list[float]:
    """Return the box that a place's first four logits mean."""
    x, y = ((sigmoid(v) * scale - (scale - 1) / 2 + c) * place.stride for v, c in zip(logits, (place.x, place.y), strict=False))
    grow = [(2 * sigmoid(v)) ** 2 if box == "square" else math.exp(v) for v in logits[2:4]]
    width, height = grow[0] * place.width, grow[1] * place.height
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def rows(map_: Tensor, image: int, place: Place, classes: int) -> list[float]:
    """Return the logits of a place from the map (N, A * (5 + K), H, W) of its stride."""
    first = place.anchor * (5 + classes)
    found: list[float] = map_.detach()[image, first : first + 5 + classes, place.y, place.x].tolist()
    return found


def standing(boxes: Sequence[Box], order: Sequence[int], most: float) -> Iterator[int]:
    """Yield those that suppression leaves, in the given order."""
    kept: list[int] = []
    for number in order:
        if all(iou(boxes[number], boxes[better]) <= most for better in kept):
            kept.append(number)
            yield number
