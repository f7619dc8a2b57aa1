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


def pyramid_roi_align(features: Features, rois: Tensor, size: int, sampling: int = 0, finest_size: float = 56.0) -> Tensor:
    """Return the features (N, C, size, size) of regions, each from one level (He et al., "Mask R-CNN", 2017, section 3).

    Args:
        features: maps (B, C, H, W) by stride, finest first.
        rois: (N, 5), the image's index in the batch and xyxy in its pixels.
        size: side of the output grid.
        sampling: samples per cell and axis; 0 for as many as there are feature pixels.
        finest_size: regions with sides below twice this come from the finest level.
    """
    strides = list(features)
    levels = roi_levels(rois[:, 1:], len(strides), finest_size)
    first = features[strides[0]]
    out = first.new_zeros(len(rois), first.shape[1], size, size)
    for level, stride in enumerate(strides):
        chosen = (levels == level).nonzero().squeeze(1)
        pooled = roi_align(features[stride], rois[chosen], size, 1 / stride, sampling, aligned=True)
        out = out.index_copy(0, chosen, pooled)
    return out
