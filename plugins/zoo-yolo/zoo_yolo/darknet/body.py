"""Any network of a Darknet ``.cfg`` as a backbone: all its layers but the detection convolutions."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_core.errors import InputError
from zoo_core.interfaces import Backbone
from zoo_core.types import Features
from zoo_yolo.darknet.specs import (
    IMAGE,
    AnyLayer,
    ConvolutionSpec,
    DarknetSpec,
    DropoutSpec,
    MaxPoolSpec,
    RouteSpec,
    ShortcutSpec,
    UpsampleSpec,
)
from zoo_yolo.layers import ACTIVATIONS, ConvNormAct

NORM_EPS = 1e-6
"""What OpenCV adds to the variance when it reads such files; only for variances near it would another number matter."""


class Darknet(Backbone):
    """The layers one after the other. A map is let go as soon as no later layer reads it."""

    def __init__(self, spec: DarknetSpec) -> None:
        super().__init__()
        self.spec = spec
        places = dict(zip(spec.strides, spec.outputs, strict=True))
        self.channels = {stride: spec.maps[places[stride]][0] for stride in sorted(places)}
        self._places = {stride: places[stride] for stride in self.channels}
        self._step = math.lcm(*(stride for _, stride in spec.maps))
        self._sources = [layer.sources(place) for place, layer in enumerate(spec.layers)]
        before = [3, *(channels for channels, _ in spec.maps)]
        self.layers = nn.ModuleList(_made(layer, c) for layer, c in zip(spec.layers, before, strict=False))
        last = {place: place for place in range(len(spec.layers))}  # a map that nobody reads goes at once
        last |= {source: place for place, sources in enumerate(self._sources) for source in sources}
        self._done: dict[int, list[int]] = defaultdict(list)
        for source, place in last.items():
            if source not in spec.outputs:
                self._done[place].append(source)

    def forward(self, images: Tensor) -> Features:
        """Return the maps (N, C, H / stride, W / stride) of the outputs; raise `InputError` for sides that do not divide so."""
        height, width = images.shape[2:]
        if height % self._step or width % self._step:
            told = f"the sides must be multiples of {self._step}, for its strides"
            raise InputError(f"backbone 'darknet' is given images of {height} x {width} pixels: {told}; see the preprocess")
        maps = {IMAGE: images}
        for place, (layer, sources) in enumerate(zip(self.layers, self._sources, strict=True)):
            maps[place] = layer(*(maps[source] for source in sources))
            for source in self._done.get(place, ()):
                del maps[source]
        return {stride: maps[place] for stride, place in self._places.items()}

    def darknet_groups(self) -> dict[int, list[ConvNormAct]]:
        """Return the convolutions that stand before each detection convolution in the file, by the stride of its map.

        Both the strides and the convolutions are in the order of the file.
        """
        groups: dict[int, list[ConvNormAct]] = {}
        start = 0
        for stride, place in zip(self.spec.strides, self.spec.outputs, strict=True):
            groups[stride] = [layer for layer in self.layers[start : place + 1] if isinstance(layer, ConvNormAct)]
            start = place + 1
        return groups


class MaxPool(nn.Module):
    """Greatest value in a window; half of the padding, rounded down, is at the left and top, and never the greatest."""

    def __init__(self, size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (N, C, (H + padding - size) // stride + 1, …)."""
        if self.padding % 2 == 0:  # torch pads both sides alike
            return F.max_pool2d(x, self.size, self.stride, self.padding // 2)
        low = self.padding // 2
        left, right, top, bottom = (*self._sides(x.shape[3], low), *self._sides(x.shape[2], low))
        if left or right or top or bottom:
            x = F.pad(x, (left, right, top, bottom), value=float("-inf"))
        return F.max_pool2d(x, self.size, self.stride)

    def _sides(self, length: int, low: int) -> tuple[int, int]:
        """Return the padding before and after; after the last window none is needed."""
        windows = (length + self.padding - self.size) // self.stride + 1
        return low, max((windows - 1) * self.stride + self.size - length - low, 0)

    def extra_repr(self) -> str:
        """Return the options for the printed form."""
        return f"size={self.size}, stride={self.stride}, padding={self.padding}"


class Route(nn.Module):
    """The maps of other layers, one after the other; of each one share of its channels."""

    def __init__(self, groups: int, group: int) -> None:
        super().__init__()
        self.groups, self.group = groups, group

    def forward(self, *maps: Tensor) -> Tensor:
        """Return a map (N, sum of the channels / groups, H, W)."""
        if self.groups > 1:
            maps = tuple(map_.chunk(self.groups, dim=1)[self.group] for map_ in maps)
        return torch.cat(maps, dim=1) if len(maps) > 1 else maps[0]


class Shortcut(nn.Module):
    """The sum of maps, and an activation."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Return a map of the same shape."""
        for other in others:
            first = first + other
        return ACTIVATIONS[self.activation](first, False)


def _made(layer: AnyLayer, channels: int) -> nn.Module:
    """Return the module of a layer that reads `channels` channels."""
    match layer:
        case ConvolutionSpec():
            sizes = (channels, layer.filters, layer.size, layer.stride)
            padded = {"groups": layer.groups, "padding": layer.padding}
            return ConvNormAct(*sizes, **padded, norm=layer.norm, norm_eps=NORM_EPS, act=layer.activation)
        case MaxPoolSpec():
            return MaxPool(layer.size, layer.stride, layer.padding)
        case UpsampleSpec():
            return nn.Upsample(scale_factor=layer.stride, mode="nearest")
        case DropoutSpec():
            return nn.Dropout(layer.probability)
        case RouteSpec():
            return Route(layer.groups, layer.group)
        case ShortcutSpec():
            return Shortcut(layer.activation)
