"""Priors by the cell that they stand in."""

from __future__ import annotations

import torch
from torch import Tensor


def centres_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres (N, 2) and the sizes (N, 2) of boxes (N, 4), x first."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return (low + high) * 0.5, high - low


class Cells:
    """Finds the priors of a cell: each prior stands in the cell of its own map that its centre lies in.

    The priors are sorted once by the number of their cell, so that to find those of many cells takes neither a loop nor a
    matrix of targets and priors.

    Args:
        priors: (A, 4), at least one.
        strides: (A,), the side of the cells of each prior's map in pixels.

    Attributes:
        strides: (S,), the distinct strides, ascending; a *level* is an index into them.
    """

    def __init__(self, priors: Tensor, strides: Tensor) -> None:
        self.strides, level = torch.unique(strides.to(priors.dtype), return_inverse=True)
        cells = (centres_and_sizes(priors)[0] / strides[:, None]).floor().long()
        self._first = cells.amin(dim=0)
        self._extent = cells.amax(dim=0) - self._first + 1
        self._numbers, self._priors = self._number(level, cells)[0].sort(stable=True)

    def _number(self, level: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return the number (Q,) of each cell (Q, 2), x first, and whether it lies (Q,) where there are priors at all."""
        place = cells - self._first
        inside = ((place >= 0) & (place < self._extent)).all(dim=1)
        return (level * self._extent[1] + place[:, 1]) * self._extent[0] + place[:, 0], inside

    def find(self, level: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return (query (P,), prior (P,)): each prior that stands in each of the cells (Q, 2), x first, of the levels (Q,)."""
        number, inside = self._number(level, cells)
        start = torch.searchsorted(self._numbers, number)
        count = (torch.searchsorted(self._numbers, number, right=True) - start) * inside
        query = torch.arange(len(number), device=number.device).repeat_interleave(count)
        rank = torch.arange(len(query), device=query.device) - (count.cumsum(0) - count)[query]
        return query, self._priors[start[query] + rank]
