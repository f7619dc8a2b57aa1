"""The blocks of YOLOv5: C3, a cross-stage partial block of three convolutions, and fast spatial pyramid pooling.

After CSPNet (Wang et al., 2020, section 3.1) and the tensor shapes of the published release 6 models.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_yolo.layers import ConvNormAct

Layer = Callable[..., ConvNormAct]
"""Makes a `ConvNormAct` from channels, kernel and stride."""


class Bottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution, added to the input where there is a `shortcut`."""

    def __init__(self, layer: Layer, channels: int, shortcut: bool, hidden: int | None = None) -> None:
        super().__init__()
        self.reduce = layer(channels, hidden or channels)
        self.expand = layer(hidden or channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        found: Tensor = self.expand(self.reduce(x))
        if not self.shortcut:
            return found
        # Without gradient nobody else looks at the result of `expand`.
        return found + x if torch.is_grad_enabled() else found.add_(x)


class C3(nn.Module):
    """Bottlenecks on one half of the channels; the other half passes by; a 1x1 convolution merges both."""

    def __init__(self, layer: Layer, in_channels: int, out_channels: int, count: int, shortcut: bool = True) -> None:
        super().__init__()
        hidden = max(out_channels // 2, 1)
        self.main = layer(in_channels, hidden)
        self.side = layer(in_channels, hidden)
        self.merge = layer(2 * hidden, out_channels)
        self.blocks = nn.Sequential(*(Bottleneck(layer, hidden, shortcut) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (N, out_channels, H, W)."""
        merged: Tensor = self.merge(torch.cat([self.blocks(self.main(x)), self.side(x)], dim=1))
        return merged


class SPPF(nn.Module):
    """Three 5x5 maximum pools in sequence, seen together with their input: windows of 5, 9 and 13 (He et al., 2015)."""

    def __init__(self, layer: Layer, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = in_channels // 2
        self.reduce = layer(in_channels, hidden)
        self.merge = layer(4 * hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (N, out_channels, H, W)."""
        maps = [self.reduce(x)]
        for _ in range(3):
            maps.append(F.max_pool2d(maps[-1], 5, stride=1, padding=2))
        merged: Tensor = self.merge(torch.cat(maps, dim=1))
        return merged


def repeated(count: int, depth: float) -> int:
    """Return how many blocks there are of `count` at a multiple of depth: at least one."""
    return max(round(count * depth), 1)
