"""Overlap of boxes.

The union is bounded below by 1e-6, so that two empty boxes have overlap 0, where `torchvision.ops.box_iou` gives NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import complete_box_iou_loss

from zoo_core.ops.boxes import areas

EPSILON = 1e-6


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Return the areas (N, M) that each of N boxes shares with each of M boxes.

    One axis after the other: half the memory of the (N, M, 2) form.
    """
    width = torch.minimum(first[:, None, 2], second[:, 2]).sub_(torch.maximum(first[:, None, 0], second[:, 0])).clamp_(min=0)
    height = torch.minimum(first[:, None, 3], second[:, 3]).sub_(torch.maximum(first[:, None, 1], second[:, 1])).clamp_(min=0)
    return width.mul_(height)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union (N, M)."""
    shared = intersection(first, second)
    union = (areas(first)[:, None] + areas(second)).sub_(shared).clamp_(min=EPSILON)
    return shared.div_(union)


def iof(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over the area of the first boxes (N, M): how much of each lies inside the others."""
    return intersection(first, second).div_(areas(first)[:, None].clamp(min=EPSILON))


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the complete IoU (N,), -1.5 … 1, of boxes (N, 4) and (N, 4) one by one, with gradient; no side may be 0.

    Overlap, less the squared distance of the centres over that of the farthest corners, less the difference of the shapes
    (Zheng et al., "Distance-IoU loss", 2020, equations 8 to 11). The weight of the shapes gets no gradient.
    """
    loss: Tensor = complete_box_iou_loss(first, second)
    return 1 - loss
