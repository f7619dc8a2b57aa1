"""Anchor boxes on grids (Ren et al., "Faster R-CNN", section 3.1.1), with MMDetection's conventions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_core.types import Size


def base_anchors(size: float, scales: Sequence[float], ratios: Sequence[float], centre: float = 0.0) -> Tensor:
    """Return the anchors (R * S, 4) of one cell: ratios outermost, scales within.

    Args:
        size: side of the square of scale 1 and ratio 1, in pixels; commonly the stride.
        scales: factors of the side.
        ratios: height over width; the area stays.
        centre: where in the cell the anchors are centred, as a fraction of `size`; 0 is the corner.
    """
    height = torch.tensor(ratios, dtype=torch.float32).sqrt()[:, None]
    scale = torch.tensor(scales, dtype=torch.float32)
    widths, heights = (size * (1 / height) * scale).flatten(), (size * height * scale).flatten()
    x, y = centre * size, centre * size
    return torch.stack([x - widths / 2, y - heights / 2, x + widths / 2, y + heights / 2], dim=1)


def grid_anchors(base: Tensor, shape: Size, stride: int | Size) -> Tensor:
    """Return the anchors (H * W * A, 4) of a feature map of (H, W): row by row, the anchor of a cell innermost.

    `stride` is how far apart the cells lie, in pixels: one number, or (down, across).
    """
    height, width = shape
    down, across = (stride, stride) if isinstance(stride, int) else stride
    y = torch.arange(height, device=base.device, dtype=base.dtype) * down
    x = torch.arange(width, device=base.device, dtype=base.dtype) * across
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([columns, rows, columns, rows], dim=-1).view(-1, 1, 4)
    return (shifts + base).view(-1, 4)


def inside_image(shape: Size, stride: int, padded: Size, per_cell: int, device: torch.device | None = None) -> Tensor:
    """Return a mask (H * W * A,) of the anchors whose cell lies on an image of (height, width) in a larger batch."""
    rows = torch.arange(shape[0], device=device) * stride < padded[0]
    columns = torch.arange(shape[1], device=device) * stride < padded[1]
    return (rows[:, None] & columns).flatten().repeat_interleave(per_cell)
