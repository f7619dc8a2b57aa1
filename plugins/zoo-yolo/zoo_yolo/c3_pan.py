"""Path aggregation (Liu et al., "PANet", 2018, section 3.1) as in YOLOv5, release 6: layers 10 to 23 of the model."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from zoo_core.interfaces import Neck
from zoo_core.types import Channels, Features
from zoo_yolo.c3 import C3, repeated
from zoo_yolo.layers import layer_of
from zoo_yolo.pyramid import checked_strides
from zoo_yolo.specs import C3PANSpec


class C3PAN(Neck):
    """From the coarsest map to the finest by upsampling, then back by convolutions of stride 2; a C3 after each step.

    `reduce` and `up` count from the coarsest map, `down` and `out` from the finest. What a step up leaves behind, reduced to
    the channels of the finer map, is what the step down to that place is joined with.
    """

    def __init__(self, spec: C3PANSpec, channels: Channels) -> None:
        super().__init__()
        strides = checked_strides("c3_pan", channels)
        layer, count = layer_of(spec), repeated(3, spec.depth)
        widths = [channels[stride] for stride in strides]
        steps = list(pairwise(widths))  # (finer, coarser), from the finest
        self.reduce = nn.ModuleList(layer(coarse, fine) for fine, coarse in reversed(steps))
        self.up = nn.ModuleList(C3(layer, 2 * fine, fine, count, shortcut=False) for fine, _ in reversed(steps))
        self.down = nn.ModuleList(layer(fine, fine, 3, 2) for fine, _ in steps)
        self.out = nn.ModuleList(C3(layer, 2 * fine, coarse, count, shortcut=False) for fine, coarse in steps)
        self.channels = dict(zip(strides, widths, strict=True))

    def forward(self, features: Features) -> Features:
        """Return a map (N, C, H / stride, W / stride) for each stride, as wide as it came."""
        strides = list(self.channels)
        x = features[strides[-1]]
        left = []  # from the coarsest
        for stride, reduce, up in zip(reversed(strides[:-1]), self.reduce, self.up, strict=True):
            left.append(reduce(x))
            fine = features[stride]
            x = up(torch.cat([F.interpolate(left[-1], size=fine.shape[-2:], mode="nearest"), fine], dim=1))
        found = {strides[0]: x}
        for stride, down, out, joined in zip(strides[1:], self.down, self.out, reversed(left), strict=True):
            x = out(torch.cat([down(x), joined], dim=1))
            found[stride] = x
        return found
