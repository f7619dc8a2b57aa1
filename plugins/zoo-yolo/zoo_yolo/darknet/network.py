"""From the sections of a ``.cfg`` to a body of layers and the maps that its [yolo] layers stand on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from zoo_core.detectors.specs import LONGEST_SIDE
from zoo_core.errors import SpecError
from zoo_core.specs import validate
from zoo_yolo.darknet.cfg import Section, read_cfg
from zoo_yolo.darknet.detection import YoloMap, yolo_map
from zoo_yolo.darknet.layers import layer
from zoo_yolo.darknet.specs import MOST_WEIGHTS, AnyLayer, DarknetSpec, Map, add_map


@dataclass(frozen=True)
class Network:
    """A detector as a ``.cfg`` describes it.

    Attributes:
        path: the file.
        height, width: of its input, in pixels.
        letterbox: whether images keep their aspect ratio within the input, rather than being stretched to it.
        body: the layers but for the detection convolutions.
        yolos: the [yolo] layers in the order of the file, as the outputs of `body`.
        values: how many numbers its weights are.
    """

    path: Path
    height: int
    width: int
    letterbox: bool
    body: DarknetSpec
    yolos: tuple[YoloMap, ...]
    values: int


def read_network(path: Path) -> Network:
    """Return what a ``.cfg`` describes.

    Raises:
        DataError: no detector with [yolo] layers, or one that is not understood; names the line.
    """
    net, *sections = read_cfg(path)
    if (channels := net.integer("channels", 3)) != 3:
        raise net.error(f"images have 3 channels here, not {channels}", "channels")
    width, height = (net.integer(side, least=1, most=LONGEST_SIDE) for side in ("width", "height"))
    letterbox = bool(net.integer("letter_box", 0, most=1))
    reader = _Reader(sections)
    for index, section in enumerate(sections):
        reader.read(index, section)
    reader.check_end(net)
    step = max(stride for _, stride in reader.maps)
    for side, pixels in (("width", width), ("height", height)):
        if pixels % step:
            raise net.error(f"{side} must be a multiple of {step}, the stride of the coarsest map, got {pixels}", side)
    try:
        body = validate(DarknetSpec, {"layers": reader.layers, "outputs": reader.outputs})
    except SpecError as error:
        raise net.error(str(error)) from error
    return Network(path, height, width, letterbox, body, tuple(reader.yolos), reader.values)


@dataclass
class _Reader:
    """Takes the layers one after the other.

    Attributes:
        sections: the layers as they are written.
        places: for each of them its place in the body; none for those that belong to the head.
        values: how many numbers their weights are.
    """

    sections: list[Section]
    layers: list[AnyLayer] = field(default_factory=list)
    maps: list[Map] = field(default_factory=list)
    places: list[int | None] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    yolos: list[YoloMap] = field(default_factory=list)
    values: int = 0

    def read(self, index: int, section: Section) -> None:
        """Add a layer to the body or to the head."""
        if section.name == "net":
            raise section.error("there is one [net], at the beginning")
        follower = self.sections[index + 1].name if index + 1 < len(self.sections) else ""
        if section.name == "yolo":
            self._add_yolo(section, self.sections[index - 1] if index else None)
        elif section.name == "convolutional" and follower == "yolo":
            if not self.places or self.places[-1] is None:
                raise section.error("the convolution before a [yolo] needs a layer of the network before it")
            self.places.append(None)
        else:
            self._add_layer(section)

    def _add_layer(self, section: Section) -> None:
        if section.name != "route" and self.places and self.places[-1] is None:
            raise section.error("it reads what the [yolo] before it gives; after a [yolo] only a [route] can go on")
        try:
            made = layer(section, self._places)
            self.values += add_map(made, self.maps)
            if self.values > MOST_WEIGHTS:
                raise ValueError(f"{self.values:,} weights up to here; {MOST_WEIGHTS:,} at most")
        except ValueError as error:
            raise section.error(str(error)) from None
        self.places.append(len(self.layers))
        self.layers.append(made)

    def _places(self, section: Section, option: str) -> tuple[int, ...]:
        """Return the places in the body of the layers that an option names, by number or (below zero) by distance."""
        found = []
        index = len(self.places)
        for number in section.integers(option):
            target = number if number >= 0 else index + number
            if not 0 <= target < index:
                raise section.error(f"{option}={number} is no layer before this one, which is layer {index}", option)
            place = self.places[target]
            if place is None:
                named = self.sections[target]
                what = f"the [{named.name}] of line {named.line}, whose map belongs to the detections"
                raise section.error(f"{option}={number} leads to {what}", option)
            found.append(place)
        return tuple(found)

    def _add_yolo(self, section: Section, before: Section | None) -> None:
        place = len(self.layers) - 1
        channels, stride = self.maps[place] if self.maps else (3, 1)
        found = yolo_map(section, before, stride)
        for earlier in self.yolos:
            where = f"that of line {earlier.section.line}"
            if earlier.classes != found.classes:
                raise section.error(f"classes={found.classes}, but {earlier.classes} in {where}", "classes")
            if earlier.square != found.square:
                raise section.error(f"new_coords differs from {where}", "new_coords")
            if earlier.stride == stride:
                raise section.error(f"its map has stride {stride}, as {where}; each needs a stride of its own")
        self.values += (channels + 1) * len(found.anchors) * (5 + found.classes)
        self.outputs.append(place)
        self.places.append(None)
        self.yolos.append(found)

    def check_end(self, net: Section) -> None:
        """Raise unless the last layer is a [yolo]."""
        if not self.yolos:
            raise net.error("the network has no [yolo] layer: it is no detector, or the file is truncated")
        if self.places[-1] is not None:
            told = "the last layer must be a [yolo]: what comes after the last one leads nowhere; is the file truncated?"
            raise self.sections[-1].error(told)
