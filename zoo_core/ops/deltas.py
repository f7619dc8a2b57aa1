"""Boxes as offsets from other boxes (Girshick et al., "R-CNN", 2014, appendix C)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core.ops.boxes import clip
from zoo_core.types import Size

MOST_LOG_RATIO = abs(math.log(16 / 1000))
"""Bound of |dw| and |dh|: a box grows or shrinks by at most 62.5 times."""


@dataclass(frozen=True)
class DeltaCoder:
    """Encodes a box as (dx, dy, dw, dh) from another one: shifts in units of its size, logarithms of the size's ratio.

    Attributes:
        std: the deltas are divided by these, so that the network sees values of about 1.
        mean: subtracted from the deltas before that.
        least_log_ratio: bound of dw and dh below, and so of how much a box shrinks; that above is `MOST_LOG_RATIO`.
    """

    std: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    mean: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    least_log_ratio: float = -MOST_LOG_RATIO

    def encode(self, boxes: Tensor, goals: Tensor) -> Tensor:
        """Return the deltas (N, 4) that lead from `boxes` to `goals`."""
        centres, sizes = _centres_and_sizes(boxes)
        goal_centres, goal_sizes = _centres_and_sizes(goals)
        deltas = torch.cat([(goal_centres - centres) / sizes, (goal_sizes / sizes).log()], dim=-1)
        return (deltas - deltas.new_tensor(self.mean)) / deltas.new_tensor(self.std)

    def decode(self, boxes: Tensor, deltas: Tensor, size: Size | None = None) -> Tensor:
        """Return the boxes (…, 4) that `deltas` (…, 4) lead to, clipped to an image of (height, width) when given."""
        deltas = deltas * deltas.new_tensor(self.std) + deltas.new_tensor(self.mean)
        centres, sizes = _centres_and_sizes(boxes)
        centres = centres + deltas[..., :2] * sizes
        halves = sizes * deltas[..., 2:].clamp(self.least_log_ratio, MOST_LOG_RATIO).exp() * 0.5
        found = torch.cat([centres - halves, centres + halves], dim=-1)
        return found if size is None else clip(found, size)


def _centres_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) * 0.5, high - low
