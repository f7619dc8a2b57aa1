"""The backbone of YOLOv4-tiny (Wang et al., "Scaled-YOLOv4", 2021, section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_core.interfaces import Backbone
from zoo_core.types import Features
from zoo_yolo.c3 import Layer
from zoo_yolo.layers import layer_of
from zoo_yolo.specs import CSPDarknet53TinySpec

STAGES = ((4, 64), (8, 128), (16, 256))
"""(stride, channels) of the stages; what a stage hands on is twice as wide."""
LAST = (32, 512)


class TinyStage(nn.Module):
    """Two 3x3 convolutions on the second half of the channels, in the order of the ``.cfg``."""

    def __init__(self, layer: Layer, in_channels: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.first = layer(in_channels, channels, 3)
        self.inner = layer(half, half, 3)
        self.outer = layer(half, half, 3)
        self.merge = layer(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the merged map (N, C, H, W), and the map of the first convolution with it (N, 2 * C, H, W)."""
        x = self.first(x)
        inner = self.inner(x.chunk(2, dim=1)[1])
        merged: Tensor = self.merge(torch.cat([self.outer(inner), inner], dim=1))
        return merged, torch.cat([x, merged], dim=1)


class CSPDarknet53Tiny(Backbone):
    """Two convolutions of stride 2, then stages of strides 4 to 16 with 2x2 pooling after each, then a convolution."""

    def __init__(self, spec: CSPDarknet53TinySpec) -> None:
        super().__init__()
        self.spec = spec
        layer = layer_of(spec)
        self.stem = nn.Sequential(layer(3, 32, 3, 2), layer(32, 64, 3, 2))
        self.stages = nn.ModuleList()
        incoming = 64
        for stride, channels in STAGES:
            if stride <= spec.strides[-1]:
                self.stages.append(TinyStage(layer, incoming, channels))
            incoming = 2 * channels
        self.last = layer(incoming, LAST[1], 3) if LAST[0] in spec.strides else None
        self.channels = {stride: channels for stride, channels in (*STAGES, LAST) if stride in spec.strides}

    def forward(self, images: Tensor) -> Features:
        """Return the maps (N, C, H / stride, W / stride)."""
        features = {}
        x = self.stem(images)
        for (stride, _), stage in zip(STAGES, self.stages, strict=False):
            merged, x = stage(x)
            if stride in self.channels:
                features[stride] = merged
            x = F.max_pool2d(x, 2, ceil_mode=True)  # Darknet keeps an odd last row
        if self.last is not None:
            features[LAST[0]] = self.last(x)
        return features
