"""Non-maximum suppression within groups, over `torchvision.ops.batched_nms`."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import batched_nms


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, most: int) -> Tensor:
    """Return the indices of the boxes that stay, best first, at most `most`.

    A box goes when a better one of its group (class, level) overlaps it by *more* than `iou`.

    Args:
        boxes: (N, 4).
        scores: (N,).
        groups: (N,) int64.
        iou: overlap above which the lesser box goes.
        most: bound of the number that stays.
    """
    kept: Tensor = batched_nms(boxes, scores, groups, iou)
    return kept[:most]
