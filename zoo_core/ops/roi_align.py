"""Features of regions, each from the level of the pyramid that fits its size (Lin et al., "FPN", 2017, equation 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align

from zoo_core.ops.boxes import areas
from zoo_core.types import Features


def roi_levels(boxes: Tensor, levels: int, finest_size: float = 56.0) -> Tensor:
    """Return the level (N,) 0 … levels-1 of each box: one more each time its side doubles beyond `finest_size`."""
    side = areas(boxes).sqrt()
    return torch.floor(torch.log2(side / finest_size + 1e-6)).clamp(0, levels - 1).long()


def pyramid_roi_align(
    features: Features, rois: Tensor, size: int, *, sampling: int = 0, aligned: bool = True, finest_size: float = 56.0
) -> Tensor:
    """Return the features (N, C, size, size) of regions, each from one level (He et al., "Mask R-CNN", 2017, section 3).

    Args:
        features: maps (B, C, H, W) by stride, finest first.
        rois: (N, 5), the image's index in the batch and xyxy in its pixels.
        size: side of the output grid.
        sampling: samples per cell and axis; 0 for as many as there are feature pixels.
        aligned: pixel centres lie half a pixel inside (False: the form of the first implementations).
        finest_size: regions with sides below twice this come from the finest level.
    """
    levels = roi_levels(rois[:, 1:], len(features), finest_size)
    chosen = [(levels == level).nonzero().squeeze(1) for level in range(len(features))]
    pooled = [
        roi_align(map_, rois[rows], size, 1 / stride, sampling, aligned)
        for (stride, map_), rows in zip(features.items(), chosen, strict=True)
    ]
    return torch.cat(pooled)[torch.cat(chosen).argsort()]
