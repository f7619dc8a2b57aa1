"""Pictures of coloured rectangles, and whether boxes lie where the colours are."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.types import Targets

# By label. Every channel is either full or empty, so a pixel is of a colour if its channels are above or below the middle.
COLOURS = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.bool)


def paint(size: tuple[int, int], targets: Targets) -> Tensor:
    """Return black (3, H, W), uint8, with the boxes and ignore regions of `targets` filled with the colours of their labels."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    for x1, y1, x2, y2, label in torch.cat(boxes_and_labels(targets), 1).int().tolist():
        image[:, y1:y2, x1:x2] = COLOURS[label][:, None, None] * 255
    return image


def boxes_and_labels(targets: Targets) -> tuple[Tensor, Tensor]:
    """Return the boxes (N + M, 4) and labels (N + M, 1) of objects and ignore regions together."""
    return torch.cat([targets.boxes, targets.ignored]), torch.cat([targets.labels, targets.ignored_labels])[:, None]


def of_colour(image: Tensor) -> Tensor:
    """Return which pixels of `image` are of the colour of each label (K, H, W)."""
    return ((image > 127) == COLOURS[:, :, None, None]).all(1)


def assert_under_boxes(seen: Tensor, targets: Targets, tolerance: float = 0.75) -> None:
    """Check that what is seen of each label (K, H, W) is what lies in its boxes, objects and ignore regions together.

    Args:
        seen: which pixels are of a label.
        targets: the boxes.
        tolerance: how far from an edge of a box a pixel's middle may be on the wrong side, in pixels.
    """
    boxes, labels = boxes_and_labels(targets)
    inner, outer = _filled(boxes, -tolerance, seen.shape[1:]), _filled(boxes, tolerance, seen.shape[1:])
    for label, mask in enumerate(seen):
        own = labels[:, 0] == label
        assert not (inner[own].any(0) & ~mask).any(), f"a box of {label} holds something else"
        assert not (mask & ~outer[own].any(0)).any(), f"some of {label} has no box"


def _filled(boxes: Tensor, more: float, size: torch.Size) -> Tensor:
    """Return the pixels (N, H, W) whose middle lies in each box, made larger by `more` on each side."""
    y, x = (torch.arange(side) + 0.5 for side in size)
    x1, y1, x2, y2 = (boxes + torch.tensor([-more, -more, more, more])).T[:, :, None]
    return ((y >= y1) & (y <= y2))[:, :, None] & ((x >= x1) & (x <= x2))[:, None, :]
