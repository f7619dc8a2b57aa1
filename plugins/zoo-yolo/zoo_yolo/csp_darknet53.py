"""CSPDarknet53, the backbone of YOLOv4 (Bochkovskiy et al., 2020, section 3.4; Wang et al., "CSPNet", 2020, section 3.1).

timm has a ``cspdarknet53`` of as many parameters, which is another network: its activation is LeakyReLU of slope 0.01 instead
of Mish, and one convolution stands for the two 1x1 convolutions of each stage.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_core.interfaces import Backbone
from zoo_core.types import Features
from zoo_yolo.c3 import Bottleneck, Layer
from zoo_yolo.layers import layer_of
from zoo_yolo.specs import CSPDarknet53Spec

STAGES = ((2, 64, 1), (4, 128, 2), (8, 256, 8), (16, 512, 8), (32, 1024, 4))
"""(stride, channels, blocks)."""


class CSPStage(nn.Module):
    """A 3x3 convolution of stride 2; blocks on one branch, nothing on the other; a 1x1 convolution merges both.

    The modules stand in the order of the convolutions in a Darknet ``.cfg``.
    """

    def __init__(self, layer: Layer, in_channels: int, out_channels: int, count: int) -> None:
        super().__init__()
        first = count == 1  # the first stage does not halve its branches, but the inside of its block
        branch = out_channels if first else out_channels // 2
        self.down = layer(in_channels, out_channels, 3, 2)
        self.side = layer(out_channels, branch)
        self.main = layer(out_channels, branch)
        hidden = branch // 2 if first else branch
        self.blocks = nn.Sequential(*(Bottleneck(layer, branch, shortcut=True, hidden=hidden) for _ in range(count)))
        self.after = layer(branch, branch)
        self.merge = layer(2 * branch, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (N, out_channels, H / 2, W / 2)."""
        x = self.down(x)
        merged: Tensor = self.merge(torch.cat([self.after(self.blocks(self.main(x))), self.side(x)], dim=1))
        return merged


class CSPDarknet53(Backbone):
    """A stem of stride 1, then stages of strides 2 to 32 as far as maps are wanted."""

    def __init__(self, spec: CSPDarknet53Spec) -> None:
        super().__init__()
        self.spec = spec
        layer = layer_of(spec)
        self.stem = layer(3, 32, 3)
        self.stages = nn.ModuleList()
        incoming = 32
        for stride, channels, count in STAGES:
            if stride <= spec.strides[-1]:
                self.stages.append(CSPStage(layer, incoming, channels, count))
            incoming = channels
        self.channels = {stride: channels for stride, channels, _ in STAGES if stride in spec.strides}

    def forward(self, images: Tensor) -> Features:
        """Return the maps (N, C, H / stride, W / stride)."""
        features = {}
        x = self.stem(images)
        for (stride, _, _), stage in zip(STAGES, self.stages, strict=False):
            x = stage(x)
            if stride in self.channels:
                features[stride] = x
        return features
