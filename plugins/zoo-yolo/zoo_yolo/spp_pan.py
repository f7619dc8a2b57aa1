"""The neck of YOLOv4: spatial pyramid pooling and path aggregation (Bochkovskiy et al., 2020, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_core.interfaces import Neck
from zoo_core.types import Channels, Features
from zoo_yolo.c3 import Layer
from zoo_yolo.layers import ConvNormAct, layer_of
from zoo_yolo.pyramid import checked_strides
from zoo_yolo.specs import SPPPANSpec


def alternating(layer: Layer, in_channels: int, hidden: int, count: int) -> nn.Sequential:
    """Return `count` convolutions, 1x1 to `hidden` channels and 3x3 to twice as many by turns."""
    widths = [in_channels, *(hidden * (1 + k % 2) for k in range(count))]
    return nn.Sequential(*(layer(widths[k], widths[k + 1], 1 + 2 * (k % 2)) for k in range(count)))


class SPP(nn.Module):
    """Three convolutions, maximum pools of three windows joined with their input, three convolutions (He et al., 2015)."""

    def __init__(self, layer: Layer, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.before = alternating(layer, in_channels, hidden, 3)
        self.after = alternating(layer, 4 * hidden, hidden, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (N, hidden, H, W)."""
        x = self.before(x)
        five = F.max_pool2d(x, 5, stride=1, padding=2)
        nine = F.max_pool2d(five, 5, stride=1, padding=2)  # the maximum over 5x5 of 5x5 is that over 9x9
        thirteen = F.max_pool2d(nine, 5, stride=1, padding=2)
        found: Tensor = self.after(torch.cat([thirteen, nine, five, x], dim=1))
        return found


class Up(nn.Module):
    """A coarser map, reduced and upsampled, joined with the backbone's map; five convolutions."""

    def __init__(self, layer: Layer, coarse: int, incoming: int, hidden: int) -> None:
        super().__init__()
        self.reduce = layer(coarse, hidden)
        self.lateral = layer(incoming, hidden)
        self.mix = alternating(layer, 2 * hidden, hidden, 5)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return a map (N, hidden, H, W) of the size of `fine`."""
        above = F.interpolate(self.reduce(coarse), size=fine.shape[-2:], mode="nearest")
        found: Tensor = self.mix(torch.cat([self.lateral(fine), above], dim=1))
        return found


class Down(nn.Module):
    """A finer map through a convolution of stride 2, joined with the map of the way up; five convolutions, and the last."""

    def __init__(self, layer: Layer, fine: int, hidden: int) -> None:
        super().__init__()
        self.down = layer(fine, hidden, 3, 2)
        self.mix = alternating(layer, 2 * hidden, hidden, 5)
        self.out = layer(hidden, 2 * hidden, 3)

    def forward(self, fine: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map to go on with (N, hidden, H, W), and the map for the head (N, 2 * hidden, H, W)."""
        mixed: Tensor = self.mix(torch.cat([self.down(fine), up], dim=1))
        return mixed, self.out(mixed)


class SPPPAN(Neck):
    """Pooling on the coarsest map, steps up to the finest, steps down again; a 3x3 convolution before each head.

    Each map comes out as wide as it came (an odd width one narrower). `up` counts from the coarsest map, `down` from the
    finest. The modules stand in the order of the convolutions in a Darknet ``.cfg``.
    """

    def __init__(self, spec: SPPPANSpec, channels: Channels) -> None:
        super().__init__()
        strides = checked_strides("spp_pan", channels)
        layer = layer_of(spec)
        hidden = [max(channels[stride] // 2, 1) for stride in strides]
        steps = list(zip(hidden, hidden[1:], strides, strict=False))  # (finer, coarser, stride of the finer)
        self.spp = SPP(layer, channels[strides[-1]], hidden[-1])
        self.up = nn.ModuleList(Up(layer, coarse, channels[stride], fine) for fine, coarse, stride in reversed(steps))
        self.finest = layer(hidden[0], 2 * hidden[0], 3)
        self.down = nn.ModuleList(Down(layer, fine, coarse) for fine, coarse, _ in steps)
        self.channels = {stride: 2 * width for stride, width in zip(strides, hidden, strict=True)}

    def forward(self, features: Features) -> Features:
        """Return a map (N, C, H / stride, W / stride) for each stride."""
        strides = list(self.channels)
        way = [self.spp(features[strides[-1]])]  # from the coarsest
        for stride, up in zip(reversed(strides[:-1]), self.up, strict=True):
            way.append(up(way[-1], features[stride]))
        x = way.pop()
        found = {strides[0]: self.finest(x)}
        for stride, down in zip(strides[1:], self.down, strict=True):
            x, found[stride] = down(x, way.pop())
        return found

    def darknet_groups(self) -> dict[int, list[ConvNormAct]]:
        """Return the convolutions before each detection layer of the ``.cfg``, by stride, in the order of the file."""
        strides = list(self.channels)
        first = [*convolutions(self.spp), *convolutions(self.up), self.finest]
        return {strides[0]: first, **{s: convolutions(down) for s, down in zip(strides[1:], self.down, strict=True)}}


def convolutions(module: nn.Module) -> list[ConvNormAct]:
    """Return the layers of a module in the order in which they stand in it."""
    return [layer for layer in module.modules() if isinstance(layer, ConvNormAct)]
