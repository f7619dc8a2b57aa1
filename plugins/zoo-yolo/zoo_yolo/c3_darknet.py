"""The backbone of YOLOv5, release 6, from its published figures: layers 0 to 9 of the model."""

from __future__ import annotations

import math

from torch import Tensor, nn

from zoo_core.interfaces import Backbone
from zoo_core.types import Features
from zoo_yolo.c3 import C3, SPPF, Layer, repeated
from zoo_yolo.layers import layer_of
from zoo_yolo.specs import C3DarknetSpec

STAGES = ((4, 128, 3), (8, 256, 6), (16, 512, 9), (32, 1024, 3))
"""(stride, channels, blocks) before the multiples."""


class Stage(nn.Module):
    """A 3x3 convolution of stride 2, then a C3."""

    def __init__(self, layer: Layer, in_channels: int, out_channels: int, count: int) -> None:
        super().__init__()
        self.down = layer(in_channels, out_channels, 3, 2)
        self.block = C3(layer, out_channels, out_channels, count)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (N, out_channels, H / 2, W / 2)."""
        found: Tensor = self.block(self.down(x))
        return found


class C3Darknet(Backbone):
    """A 6x6 stem, stages of strides 4 to 32 as far as maps are wanted, pooling after the last of them (stride 32)."""

    def __init__(self, spec: C3DarknetSpec) -> None:
        super().__init__()
        self.spec = spec
        layer = layer_of(spec)
        incoming = widened(64, spec.width)
        self.stem = layer(3, incoming, 6, 2, padding=2)
        self.stages = nn.ModuleList()
        self.channels = {}
        for stride, channels, count in STAGES:
            if stride > spec.strides[-1]:
                break
            width = widened(channels, spec.width)
            self.stages.append(Stage(layer, incoming, width, repeated(count, spec.depth)))
            if stride in spec.strides:
                self.channels[stride] = width
            incoming = width
        self.pool = SPPF(layer, incoming, incoming) if len(self.stages) == len(STAGES) else None

    def forward(self, images: Tensor) -> Features:
        """Return the maps (N, C, H / stride, W / stride)."""
        features = {}
        x = self.stem(images)
        for (stride, _, _), stage in zip(STAGES, self.stages, strict=False):
            x = stage(x)
            if stride == STAGES[-1][0] and self.pool is not None:
                x = self.pool(x)
            if stride in self.channels:
                features[stride] = x
        return features


def widened(channels: int, width: float) -> int:
    """Return the channels at a multiple of width, rounded up to a multiple of 8."""
    return math.ceil(channels * width / 8) * 8
