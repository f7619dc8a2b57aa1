from __future__ import annotations

import json
from typing import Any

import pytest

from zoo_core.errors import SpecError
from zoo_core.specs import validate
from zoo_yolo.darknet.specs import DarknetSpec

CONV: dict[str, Any] = {"type": "convolutional", "filters": 8, "size": 3, "stride": 2, "padding": 1}
POINT: dict[str, Any] = {"type": "convolutional", "filters": 4}
UP: dict[str, Any] = {"type": "upsample", "stride": 2}


def spec_of(*layers: dict[str, Any], outputs: tuple[int, ...] | None = None) -> DarknetSpec:
    return validate(DarknetSpec, {"layers": layers, "outputs": outputs or (len(layers) - 1,)})


def route(*layers: int, **options: int) -> dict[str, Any]:
    return {"type": "route", "layers": layers, **options}


def shortcut(*layers: int) -> dict[str, Any]:
    return {"type": "shortcut", "layers": layers}


def test_channels_and_strides_are_derived() -> None:
    pool = {"type": "maxpool", "size": 2, "stride": 2, "padding": 1}
    layers = (CONV, POINT, shortcut(1), route(0, 2), route(3, groups=3, group=1), pool, {"type": "dropout"}, UP)
    spec = spec_of(*layers, outputs=(6, 7))
    assert spec.maps == ((8, 2), (4, 2), (4, 2), (12, 2), (4, 2), (4, 4), (4, 4), (4, 2))
    assert spec.strides == (4, 2)


def test_the_plain_data_is_the_whole_network() -> None:
    spec = spec_of(CONV, POINT, route(0, 1), shortcut(2))
    data = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert data["layers"][0]["norm"] is True
    assert validate(DarknetSpec, data) == spec


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ((), "layers: .*at least 1 item"),
        (({"type": "lstm"},), "layers.0: .*does not match any of the expected tags"),
        (({**CONV, "activation": "gelu"},), "layers.0.convolutional.activation: input should be 'linear', 'leaky'"),
        (({**CONV, "sam": 1},), "layers.0.convolutional: no option 'sam'"),
        (({**CONV, "filters": 65_537},), "layers.0.convolutional.filters: .*less than or equal to 65536"),
        (({**CONV, "groups": 2},), r"layer 0 \(convolutional\): 3 channels to 8 filters cannot be done in 2 groups"),
        (({**CONV, "padding": 0},), "size 3, stride 2, padding 0: its map would not have the size of the image"),
        (({**CONV, "padding": 2},), "size 3, stride 2, padding 2: its map would not have the size of the image"),
        (
            (CONV, {"type": "maxpool", "size": 5, "stride": 1, "padding": 2}),
            r"layer 1 \(maxpool\): size 5, stride 1, padding 2",
        ),
        ((CONV, {"type": "upsample", "stride": 4}), r"layer 1 \(upsample\): a map of stride 2 cannot be made 4 times larger"),
        ((CONV, route(1)), r"layer 1 \(route\): layer 1 is no earlier one"),
        ((CONV, route(7)), "layer 7 is no earlier one"),
        ((CONV, route(-1)), "layers.1.route.layers.0: .*greater than or equal to 0"),
        ((CONV, CONV, route(0, 1)), r"layer 2 \(route\): the maps have different strides: 2, 4"),
        ((CONV, route(0, groups=3)), "8 channels do not divide into 3 groups"),
        ((CONV, route(0, groups=2, group=2)), "group 2 of 2; the first is 0"),
        (
            (CONV, POINT, shortcut(0)),
            r"layer 2 \(shortcut\): 4 channels at stride 2 and 8 channels at stride 2 cannot be added",
        ),
        ((CONV, CONV, shortcut(0)), "8 channels at stride 4 and 8 channels at stride 2 cannot be added"),
    ],
)
def test_layers_that_make_no_network(layers: tuple[dict[str, Any], ...], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        spec_of(*layers, outputs=(max(len(layers) - 1, 0),))


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ((), "outputs: .*at least 1 item"),
        ((0,), r"the last be that of the last layer \(2\), got \(0,\)"),
        ((3,), r"the last be that of the last layer \(2\), got \(3,\)"),
        ((2, 1), "outputs must ascend"),
        ((1, 2), "each output needs a stride of its own, got 4, 4"),
    ],
)
def test_outputs_that_make_no_sense(outputs: tuple[int, ...], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        validate(DarknetSpec, {"layers": (CONV, CONV, POINT), "outputs": outputs})


def test_numbers_that_would_take_all_memory() -> None:
    wide = {**POINT, "filters": 65_536}
    with pytest.raises(SpecError, match=r"layer 1 \(convolutional\): 4,295,688,192 weights up to here; 1,000,000,000 at most"):
        spec_of(wide, wide)
    doubling = [route(*(k, k)) for k in range(20)]
    with pytest.raises(SpecError, match=r"layer 14 \(route\): 131,072 channels; 65,536 at most"):
        spec_of(CONV, *doubling)
