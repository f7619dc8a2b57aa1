"""Boxes (N, 4), xyxy, continuous coordinates: width = x2 - x1."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.types import Size


def clip(boxes: Tensor, size: Size, origin: Size = (0, 0)) -> Tensor:
    """Return boxes (…, 4) clipped to an image of (height, width) whose corner is at `origin`, (y, x)."""
    (top, left), (height, width) = origin, size
    # Numbers as arguments, not as a tensor, which would have to be copied to the device.
    x, y = boxes[..., 0::2].clamp(left, left + width), boxes[..., 1::2].clamp(top, top + height)
    return torch.stack([x, y], dim=-1).flatten(-2)


def areas(boxes: Tensor) -> Tensor:
    """Return the areas (N,)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def nonempty(boxes: Tensor, minimum: float = 0.0) -> Tensor:
    """Return a mask (N,) of the boxes whose width and height are both greater than `minimum`."""
    return ((boxes[:, 2:] - boxes[:, :2]) > minimum).all(dim=1)
