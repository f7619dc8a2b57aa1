"""From one section of a ``.cfg`` to the options of one layer; what would change its numbers, and is not done, is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import get_args

from zoo_core.errors import nearest
from zoo_yolo.darknet.cfg import Section
from zoo_yolo.darknet.specs import (
    MOST_CHANNELS,
    AnyLayer,
    ConvolutionSpec,
    DarknetActivation,
    DropoutSpec,
    MaxPoolSpec,
    RouteSpec,
    ShortcutSpec,
    UpsampleSpec,
)

TRAINING = frozenset({"stopbackward", "dont_update", "burnin_update", "train_only_bn", "onlyforward", "train", "learning_rate"})
"""Options of any layer that do not change what a trained network computes."""
REFUSED: Mapping[str, Mapping[str, float]] = {
    "convolutional": {
        **dict.fromkeys(("binary", "xnor", "bin_output", "use_bin_output", "antialiasing", "assisted_excitation"), 0.0),
        **dict.fromkeys(("flipped", "deform", "rotate", "stretch", "stretch_sway", "sway", "coordconv", "sqrt", "sam"), 0.0),
        **dict.fromkeys(("dontload", "dontloadscales", "share_index", "stride_x", "stride_y"), 0.0),
        "dilation": 1.0,
    },
    "maxpool": dict.fromkeys(("maxpool_depth", "out_channels", "antialiasing", "stride_x", "stride_y"), 0.0),
    "shortcut": {"weights_type": 0.0},
    "upsample": {"scale": 1.0, "reverse": 0.0},
    "yolo": {"embedding_layer": 0.0, "track_history_size": 0.0},
}
"""Options that change the numbers and are not done here, with the value that switches each off."""
Places = Callable[[Section, str], tuple[int, ...]]
"""From an option that names other layers to their places in the body."""


def layer(section: Section, places: Places) -> AnyLayer:
    """Return the options of any layer but [yolo].

    Raises:
        DataError: an option that is missing, malformed, unknown or not supported; names the line.
    """
    match section.name:
        case "convolutional":
            return convolution(section)
        case "maxpool":
            return maxpool(section)
        case "upsample":
            check(section, "stride")
            return UpsampleSpec(stride=section.integer("stride", 2, least=1, most=1024))
        case "dropout":
            check(section, "probability", ignored=("dropblock", "dropblock_size_rel", "dropblock_size_abs"))
            return DropoutSpec(probability=section.number("probability", 0.5, most=0.999))
        case "route":
            check(section, "layers", "groups", "group_id")
            groups, group = section.integer("groups", 1, least=1), section.integer("group_id", 0)
            return RouteSpec(layers=places(section, "layers"), groups=groups, group=group)
        case _:
            check(section, "from", "activation", ignored=("weights_normalization", "weights_normalizion"))
            return ShortcutSpec(layers=places(section, "from"), activation=activation(section, "linear"))


def convolution(section: Section) -> ConvolutionSpec:
    """Return the options of a [convolutional]. ``pad=1`` stands for a padding of half the window."""
    check(section, "filters", "size", "stride", "pad", "padding", "groups", "batch_normalize", "activation")
    size = section.integer("size", least=1, most=1024)
    padded = section.integer("pad", 0)
    return ConvolutionSpec(
        filters=section.integer("filters", least=1, most=MOST_CHANNELS),
        size=size,
        stride=section.integer("stride", 1, least=1, most=1024),
        padding=size // 2 if padded else section.integer("padding", 0, most=1024),
        groups=section.integer("groups", 1, least=1),
        norm=bool(section.integer("batch_normalize", 0)),
        activation=activation(section),
    )


def maxpool(section: Section) -> MaxPoolSpec:
    """Return the options of a [maxpool]. Its padding is by default one less than the window."""
    check(section, "size", "stride", "padding")
    stride = section.integer("stride", 1, least=1, most=1024)
    size = section.integer("size", stride, least=1, most=1024)
    return MaxPoolSpec(size=size, stride=stride, padding=section.integer("padding", size - 1, most=2048))


def activation(section: Section, default: str | None = None) -> DarknetActivation:
    """Return the activation of a layer."""
    found = section.word("activation", default)
    known: tuple[DarknetActivation, ...] = get_args(DarknetActivation)
    for name in known:
        if found == name:
            return name
    hint = nearest(found[:40], known) or f"; there are {', '.join(known)}"
    raise section.error(f"activation={found[:40]} is not supported{hint}", "activation")


def check(section: Section, *known: str, ignored: Collection[str] = ()) -> None:
    """Raise for options of a section that are unknown or refused."""
    section.check_options(known, TRAINING.union(ignored), REFUSED.get(section.name, {}))
