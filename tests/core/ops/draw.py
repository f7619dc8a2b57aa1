"""Random boxes for the tests of the box operations."""

from __future__ import annotations

import torch
from torch import Tensor


def boxes(count: int, seed: int, *, side: float = 100.0, least: float = 0.0) -> Tensor:
    """Return boxes (N, 4) with corners in a square of `side`, their own sides at least `least`."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, 2, generator=generator) * side
    low, high = corners.amin(dim=1), corners.amax(dim=1)
    return torch.cat([low, high + least], dim=1)
