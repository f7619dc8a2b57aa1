"""What is left of objects and ignore regions when a part of their image is cut away."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.types import Targets


def visible(targets: Targets, boxes: Tensor, whole: Tensor, min_visible: float, min_side: float = 0.0) -> Targets:
    """Return the targets that can still be seen; an object of which too little can be becomes an ignore region of its class.

    Args:
        targets: N objects and M ignore regions; their boxes are not looked at.
        boxes: (N + M, 4), where they are now, cut to what can be seen. One without area is gone.
        whole: (N + M,) the areas, in the same pixels, that they would have uncut.
        min_visible: the least share of its area that an object keeps.
        min_side: the least width and height, in pixels, that an object keeps.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    left = sides.prod(1)
    there = left > 0
    objects, regions = boxes[: len(targets)], boxes[len(targets) :]
    kept = (there & (left >= min_visible * whole) & (sides >= min_side).all(1))[: len(targets)]
    lost = there[: len(targets)] & ~kept
    known = there[len(targets) :]
    return Targets(
        objects[kept],
        targets.labels[kept],
        torch.cat([regions[known], objects[lost]]),
        torch.cat([targets.ignored_labels[known], targets.labels[lost]]),
    )
