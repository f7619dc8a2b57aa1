from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.plugins.yolo.darknet.samples import write_cfg
from zoo_core.build import build_part
from zoo_core.errors import InputError
from zoo_core.specs import Slot
from zoo_core.testing import check_backbone
from zoo_yolo.darknet.body import Darknet, MaxPool, Route, Shortcut
from zoo_yolo.darknet.network import read_network
from zoo_yolo.darknet.specs import DarknetSpec


@pytest.fixture
def spec(tmp_path: Path) -> DarknetSpec:
    return read_network(write_cfg(tmp_path)).body


def test_it_keeps_the_promises_of_a_backbone(spec: DarknetSpec) -> None:
    check_backbone(spec)


def test_it_is_built_from_plain_data(spec: DarknetSpec) -> None:
    body = build_part("backbone", Slot("backbone").resolve(spec.model_dump(mode="json")))
    assert isinstance(body, Darknet)
    assert body.channels == {2: 14, 4: 6}
    features = body.eval()(torch.rand(2, 3, 8, 12))
    assert {stride: tuple(map_.shape) for stride, map_ in features.items()} == {2: (2, 14, 4, 6), 4: (2, 6, 2, 3)}


@pytest.mark.parametrize("size", [(8, 10), (6, 12), (3, 3)])
def test_sides_that_its_strides_do_not_divide(spec: DarknetSpec, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"given images of {size[0]} x {size[1]} pixels: the sides must be multiples of 4"):
        Darknet(spec)(torch.rand(1, 3, *size))


def test_the_layers_do_what_they_say(spec: DarknetSpec) -> None:
    body = Darknet(spec).eval()
    images = torch.rand(2, 3, 8, 12)
    with torch.no_grad():
        conv, grouped, *_, last = (layer for layer in body.layers if hasattr(layer, "conv"))
        x = F.mish(conv.norm(conv.conv(images)))
        assert grouped.conv.groups == 4
        total = x + F.leaky_relu(grouped.norm(grouped.conv(x)), 0.1)
        coarse = F.silu(last.conv(F.max_pool2d(total[:, 4:], 2)))
        fine = torch.cat([F.interpolate(coarse, scale_factor=2.0), total], dim=1)
        found = body(images)
    torch.testing.assert_close(found[4], coarse)
    torch.testing.assert_close(found[2], fine)


def test_groups_are_in_the_order_of_the_file(spec: DarknetSpec) -> None:
    groups = Darknet(spec).darknet_groups()
    assert [(stride, [unit.conv.out_channels for unit in units]) for stride, units in groups.items()] == [
        (4, [8, 8, 6]),
        (2, []),
    ]


def windows(x: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Return the greatest value in each window, one after the other; what lies outside does not count."""
    rows, columns = ((length + padding - size) // stride + 1 for length in x.shape[2:])
    found = x.new_empty(*x.shape[:2], rows, columns)
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride - padding // 2, column * stride - padding // 2
            window = x[:, :, max(top, 0) : top + size, max(left, 0) : left + size]
            found[:, :, row, column] = window.amax(dim=(2, 3))
    return found


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [(2, 2, 1), (2, 2, 0), (2, 1, 1), (3, 2, 2), (3, 2, 1), (5, 1, 4), (13, 1, 12), (4, 2, 3), (6, 1, 5), (3, 3, 0)],
)
def test_maximum_pools(size: int, stride: int, padding: int) -> None:
    x = -torch.rand(1, 2, 7, 12)  # below zero, where a padding with zeros would show
    assert torch.equal(MaxPool(size, stride, padding)(x), windows(x, size, stride, padding))


def test_routes_and_shortcuts() -> None:
    a, b = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    assert Route(1, 0)(a) is a
    assert torch.equal(Route(2, 1)(a, b), torch.cat([a[:, 2:], b[:, 2:]], dim=1))
    before = a.clone()
    assert torch.equal(Shortcut("leaky")(a, b, b), F.leaky_relu(before + b + b, 0.1))
    assert torch.equal(a, before)


def test_maps_that_nobody_reads_any_more_are_let_go(spec: DarknetSpec) -> None:
    body = Darknet(spec).eval()
    refs: dict[int, Any] = {}
    alive: dict[int, list[int]] = {}

    def hook(place: int) -> Any:
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            alive[place] = [other for other, ref in refs.items() if ref() is not None]
            refs[place] = weakref.ref(output)

        return note

    for place, layer in enumerate(body.layers):
        layer.register_forward_hook(hook(place))
    with torch.no_grad():
        features = body(torch.rand(1, 3, 8, 8))
    assert alive[9] == [2, 6, 7, 8]  # 2 is read by the last route; 6 is a result, and 7 the same map
    assert alive[4] == [2, 3]
    assert set(features) == {2, 4}
