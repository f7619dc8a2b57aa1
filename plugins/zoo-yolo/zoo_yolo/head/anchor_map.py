"""The raw output of one map: what the network says at the anchors of its cells, and the boxes that this means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zoo_core.ops.anchors import grid_anchors

BOX, OBJECTNESS, CLASSES = slice(0, 4), 4, 5
"""Where in a row the logits of box and objectness are, and where those of the classes begin."""
LEAST_SIDE = 1e-3
"""Least width and height of a predicted box in pixels: without it, what depends on their ratio has no gradient."""
MOST_LOG_RATIO = math.log(1e4)
"""Bound of the exponent of "exponential" boxes, far beyond any box, so that none is infinite."""


@dataclass(frozen=True)
class AnchorMap:
    """One map, its places numbered row by row, the anchor of a cell innermost: place = (y W + x) A + anchor.

    Attributes:
        logits: (N, A, 5 + K, H * W); of the second-last axis x, y, width, height, objectness, and the classes.
        shape: (H, W).
        stride: side of a cell in pixels.
        anchors: (A, 2) float, width and height in pixels.
        box: "square": the sides are (2 sigmoid)² times the anchor's (YOLOv5's documentation, "Eliminate grid sensitivity");
            "exponential": exp times the anchor's (Redmon and Farhadi, "YOLO9000", 2016, section 2).
        scale: cells that a centre ranges over: sigmoid · scale - (scale - 1) / 2 from the corner ("YOLOv4", section 4.3).
    """

    logits: Tensor
    shape: tuple[int, int]
    stride: int
    anchors: Tensor
    box: Literal["square", "exponential"]
    scale: float

    def __len__(self) -> int:
        """Return the number of places, H * W * A."""
        return self.shape[0] * self.shape[1] * len(self.anchors)

    def priors(self) -> Tensor:
        """Return the anchors (H * W * A, 4) as boxes, centred on the middles of their cells."""
        middle, half = self.stride / 2, self.anchors / 2
        return grid_anchors(torch.cat([middle - half, middle + half], dim=1), self.shape, self.stride)

    def objectness(self) -> Tensor:
        """Return the logits (N, H * W * A) of the objectness."""
        return self.logits[:, :, OBJECTNESS].transpose(1, 2).flatten(1).float()

    def rows(self, image: Tensor, place: Tensor) -> Tensor:
        """Return all logits (P, 5 + K) of places (P,) of images (P,)."""
        count = len(self.anchors)
        cell = place.div(count, rounding_mode="floor")
        return self.logits[image, place % count, :, cell].float()

    def middles(self, place: Tensor) -> Tensor:
        """Return the middles (P, 2) of the cells of places (P,), x first, in pixels."""
        cell = place.div(len(self.anchors), rounding_mode="floor")
        width = self.shape[1]
        y = cell.div(width, rounding_mode="floor")
        return torch.stack([cell - y * width, y], dim=1).float().add_(0.5).mul_(self.stride)

    def boxes(self, logits: Tensor, place: Tensor) -> Tensor:
        """Return the boxes (P, 4) of box logits (P, 4) at places (P,), *from the middle of the place's cell*.

        The numbers are small so, and differences of them exact; add `middles` for pixels of the frame.
        """
        anchors = self.anchors[place % len(self.anchors)]
        centres = (logits[:, :2].sigmoid() - 0.5) * (self.scale * self.stride)
        if self.box == "square":
            sizes = (logits[:, 2:].sigmoid() * 2).square() * anchors
        else:
            sizes = logits[:, 2:].clamp(max=MOST_LOG_RATIO).exp() * anchors
        halves = sizes.clamp(min=LEAST_SIDE) * 0.5
        return torch.cat([centres - halves, centres + halves], dim=1)

    def image_boxes(self, image: int) -> Tensor:
        """Return the boxes (H * W * A, 4) of all places of an image, in pixels of the frame."""
        logits = self.logits[image, :, BOX].permute(2, 0, 1).reshape(-1, 4).float()
        place = torch.arange(len(self), device=logits.device)
        return self.boxes(logits, place) + self.middles(place).repeat(1, 2)
