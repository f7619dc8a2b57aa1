"""The neck of YOLOv4-tiny (Wang et al., "Scaled-YOLOv4", 2021, section 4.2)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from zoo_core.errors import InputError
from zoo_core.interfaces import Neck
from zoo_core.types import Channels, Features
from zoo_yolo.layers import ConvNormAct, layer_of
from zoo_yolo.pyramid import checked_strides
from zoo_yolo.specs import YoloTinyFPNSpec


class YoloTinyFPN(Neck):
    """The coarser map, reduced; upsampled and joined with the finer one; a 3x3 convolution before each head.

    Each map comes out as wide as it came. The modules stand in the order of the convolutions in a Darknet ``.cfg``.
    """

    def __init__(self, spec: YoloTinyFPNSpec, channels: Channels) -> None:
        super().__init__()
        strides = checked_strides("yolo_tiny_fpn", channels)
        if len(strides) != 2:
            raise InputError(
                f"neck 'yolo_tiny_fpn' takes two maps; the backbone has {strides}: give two of them as its strides"
            )
        self.fine, self.coarse = strides
        layer = layer_of(spec)
        hidden = max(channels[self.coarse] // 2, 1)
        self.reduce = layer(channels[self.coarse], hidden)
        self.out_coarse = layer(hidden, channels[self.coarse], 3)
        self.up = layer(hidden, max(hidden // 2, 1))
        self.out_fine = layer(max(hidden // 2, 1) + channels[self.fine], channels[self.fine], 3)
        self.channels = {stride: channels[stride] for stride in strides}

    def forward(self, features: Features) -> Features:
        """Return a map (N, C, H / stride, W / stride) for each stride."""
        reduced, fine = self.reduce(features[self.coarse]), features[self.fine]
        above = F.interpolate(self.up(reduced), size=fine.shape[-2:], mode="nearest")
        return {self.fine: self.out_fine(torch.cat([above, fine], dim=1)), self.coarse: self.out_coarse(reduced)}

    def darknet_groups(self) -> dict[int, list[ConvNormAct]]:
        """Return the convolutions before each detection layer of the ``.cfg``, by stride, in the order of the file."""
        return {self.coarse: [self.reduce, self.out_coarse], self.fine: [self.up, self.out_fine]}
