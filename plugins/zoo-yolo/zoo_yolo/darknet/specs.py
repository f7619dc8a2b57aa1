"""The layers of a Darknet network as plain data, and the checks that make a network of them."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from typing_extensions import Self

from zoo_core.specs import ComponentSpec, Spec

MOST_CHANNELS = 65_536
MOST_LAYERS = 10_000
MOST_WEIGHTS = 1_000_000_000
"""Beyond these a number is a slip of the pen that would take all memory."""
IMAGE = -1
"""The place of the input, before layer 0."""
DarknetActivation = Literal["linear", "leaky", "mish", "relu", "swish", "logistic"]
Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
Window = Annotated[int, Field(ge=1, le=1024)]
Map = tuple[int, int]
"""Channels and stride of a map."""


class _Layer(Spec):
    """What every layer says of itself."""

    def sources(self, place: int) -> tuple[int, ...]:
        """Return the places of the layers that it reads."""
        return (place - 1,)

    def result(self, sources: tuple[Map, ...]) -> Map:
        """Return channels and stride of its map; raise `ValueError` for sources that do not fit."""
        return sources[0]


def _shrunk(stride: int, before: int, excess: int, what: str) -> int:
    """Return the stride after a window moves by `stride`; `excess` is what the padding adds less the window.

    A map has ``(n + excess) // stride + 1`` places on a side; that is ``n / stride`` for every n that `stride` divides only
    within these bounds.
    """
    if not -stride <= excess < 0:
        raise ValueError(f"{what}: its map would not have the size of the image over a whole stride")
    return before * stride


class ConvolutionSpec(_Layer):
    """Convolution, batch norm where there is one (else a bias), activation."""

    type: Literal["convolutional"] = "convolutional"
    filters: Channels
    size: Window = 1
    stride: Window = 1
    padding: NonNegativeInt = 0
    groups: Channels = 1
    norm: bool = True
    activation: DarknetActivation = "linear"

    def result(self, sources: tuple[Map, ...]) -> Map:
        """Return channels and stride of its map."""
        ((channels, stride),) = sources
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(f"{channels} channels to {self.filters} filters cannot be done in {self.groups} groups")
        window = f"size {self.size}, stride {self.stride}, padding {self.padding}"
        return self.filters, _shrunk(self.stride, stride, 2 * self.padding - self.size, window)

    def weights(self, channels: int) -> int:
        """Return how many values it learns, its norm's statistics included."""
        return self.filters * (channels // self.groups * self.size**2 + (4 if self.norm else 1))


class MaxPoolSpec(_Layer):
    """Greatest value in a window. `padding` is that of both sides together; the left and top side get half, rounded down."""

    type: Literal["maxpool"] = "maxpool"
    size: Window
    stride: Window
    padding: NonNegativeInt

    def result(self, sources: tuple[Map, ...]) -> Map:
        """Return channels and stride of its map."""
        ((channels, stride),) = sources
        window = f"size {self.size}, stride {self.stride}, padding {self.padding}"
        return channels, _shrunk(self.stride, stride, self.padding - self.size, window)


class UpsampleSpec(_Layer):
    """Each value repeated `stride` times in both directions."""

    type: Literal["upsample"] = "upsample"
    stride: Window

    def result(self, sources: tuple[Map, ...]) -> Map:
        """Return channels and stride of its map."""
        ((channels, stride),) = sources
        if stride % self.stride:
            raise ValueError(f"a map of stride {stride} cannot be made {self.stride} times larger")
        return channels, stride // self.stride


class DropoutSpec(_Layer):
    """In training, each value is zero with a probability, and the others grow for it."""

    type: Literal["dropout"] = "dropout"
    probability: float = Field(0.5, ge=0, lt=1)


class RouteSpec(_Layer):
    """The maps of other layers, one after the other; with groups, one share of the channels of each."""

    type: Literal["route"] = "route"
    layers: tuple[NonNegativeInt, ...] = Field(min_length=1, max_length=64)
    groups: PositiveInt = 1
    group: NonNegativeInt = 0

    def sources(self, place: int) -> tuple[int, ...]:  # noqa: ARG002
        """Return the places of the layers that it reads."""
        return self.layers

    def result(self, sources: tuple[Map, ...]) -> Map:
        """Return channels and stride of its map."""
        strides = [stride for _, stride in sources]
        if len(set(strides)) > 1:
            raise ValueError(f"the maps have different strides: {', '.join(map(str, strides))}")
        if self.group >= self.groups:
            raise ValueError(f"group {self.group} of {self.groups}; the first is 0")
        for channels, _ in sources:
            if channels % self.groups:
                raise ValueError(f"{channels} channels do not divide into {self.groups} groups")
        return sum(channels for channels, _ in sources) // self.groups, strides[0]


class ShortcutSpec(_Layer):
    """The sum of the map before it and those of other layers, then an activation."""

    type: Literal["shortcut"] = "shortcut"
    layers: tuple[NonNegativeInt, ...] = Field(min_length=1, max_length=64)
    activation: DarknetActivation = "linear"

    def sources(self, place: int) -> tuple[int, ...]:
        """Return the places of the layers that it reads, the one before it first."""
        return (place - 1, *self.layers)

    def result(self, sources: tuple[Map, ...]) -> Map:
        """Return channels and stride of its map."""
        shown = " and ".join(f"{channels} channels at stride {stride}" for channels, stride in dict.fromkeys(sources))
        if len(set(sources)) > 1:
            raise ValueError(f"{shown} cannot be added")
        return sources[0]


AnyLayer = ConvolutionSpec | MaxPoolSpec | UpsampleSpec | DropoutSpec | RouteSpec | ShortcutSpec


def add_map(layer: AnyLayer, maps: list[Map]) -> int:
    """Append channels and stride of the next layer's map to those before it, and return how many values it learns.

    Raises:
        ValueError: the layer does not fit what is before it.
    """
    place = len(maps)
    places = layer.sources(place)
    if late := [source for source in places if source >= place]:
        raise ValueError(f"layer {late[0]} is no earlier one")
    sources = tuple((3, 1) if source == IMAGE else maps[source] for source in places)
    result = layer.result(sources)
    if result[0] > MOST_CHANNELS:
        raise ValueError(f"{result[0]:,} channels; {MOST_CHANNELS:,} at most")
    maps.append(result)
    return layer.weights(sources[0][0]) if isinstance(layer, ConvolutionSpec) else 0


class DarknetSpec(ComponentSpec):
    """The layers of a Darknet network before its detection convolutions. Layers are counted from 0."""

    type: str = "darknet"
    layers: tuple[Annotated[AnyLayer, Field(discriminator="type")], ...] = Field(
        min_length=1, max_length=MOST_LAYERS, description="the layers, in the order of the file"
    )
    outputs: tuple[NonNegativeInt, ...] = Field(
        min_length=1, max_length=16, description="the layers whose maps are given out, in the order of the file"
    )

    @cached_property
    def maps(self) -> tuple[Map, ...]:
        """Channels and stride of the map of each layer."""
        found: list[Map] = []
        weights = 0
        for place, layer in enumerate(self.layers):
            try:
                weights += add_map(layer, found)
            except ValueError as error:
                raise ValueError(f"layer {place} ({layer.type}): {error}") from None
            if weights > MOST_WEIGHTS:
                raise ValueError(f"layer {place} ({layer.type}): {weights:,} weights up to here; {MOST_WEIGHTS:,} at most")
        return tuple(found)

    @property
    def strides(self) -> tuple[int, ...]:
        """The stride of the map of each output, in the order of `outputs`."""
        return tuple(self.maps[place][1] for place in self.outputs)

    @model_validator(mode="after")
    def _check(self) -> Self:
        last = len(self.layers) - 1
        if list(self.outputs) != sorted(set(self.outputs)) or self.outputs[-1] != last:
            raise ValueError(f"outputs must ascend, and the last be that of the last layer ({last}), got {self.outputs}")
        if len(set(self.strides)) < len(self.strides):
            raise ValueError(f"each output needs a stride of its own, got {', '.join(map(str, self.strides))}")
        return self
