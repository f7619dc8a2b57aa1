"""Assignment by the likeness of shapes, as YOLOv5's documentation tells it ("Architecture description", "Build targets")."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_yolo.head.cell_rule import CellRule
from zoo_yolo.head.cells import Cells, centres_and_sizes
from zoo_yolo.head.specs import ShapeMatchSpec


class ShapeMatch(CellRule):
    """A prior answers for the targets of a like shape whose centre lies in its cell, or close beside it.

    On every map, a target takes the cell that its centre lies in, and each of the four cells beside that one which its
    centre is nearer to than `neighbours`, in cells; with the default, the nearer one of each axis, and none from the
    middle. In these cells it takes the priors with max(w / w', w' / w, h / h', h' / h) < `ratio`. A prior may answer for
    several targets.
    """

    def __init__(self, spec: ShapeMatchSpec) -> None:
        super().__init__(spec)
        self.spec = spec

    def match(self, cells: Cells, priors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pairs, as (prior (P,), target (P,))."""
        centres, sizes = centres_and_sizes(boxes)
        target, level, cell = self._cells(centres, cells.strides)
        query, prior = cells.find(level, cell)
        target = target[query]
        ratio = sizes[target] / centres_and_sizes(priors[prior])[1]
        alike = torch.maximum(ratio, 1 / ratio).amax(dim=1) < self.spec.ratio  # not so for a side of 0, which gives inf or NaN
        return prior[alike], target[alike]

    def _cells(self, centres: Tensor, strides: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the cells that the targets take: their own, those left, right, above and below of it if these are near.

        They come as (target (Q,), level (Q,), cell (Q, 2)).
        """
        places = centres / strides[:, None, None]  # (S, T, 2) in cells
        own = places.floor()
        part = places - own  # 0 … 1
        before, behind = part < self.spec.neighbours, part > 1 - self.spec.neighbours
        own_cell = torch.ones_like(before[..., 0])
        wanted = torch.stack([own_cell, before[..., 0], behind[..., 0], before[..., 1], behind[..., 1]], dim=-1)
        level, target, shift = wanted.nonzero(as_tuple=True)
        right, down = (shift == 2).long() - (shift == 1).long(), (shift == 4).long() - (shift == 3).long()
        return target, level, own[level, target].long() + torch.stack([right, down], dim=1)
