from __future__ import annotations

import torch

from zoo_core.testing import check_backbone
from zoo_yolo.csp_darknet53_tiny import CSPDarknet53Tiny
from zoo_yolo.specs import CSPDarknet53TinySpec


def test_contract() -> None:
    check_backbone("csp_darknet53_tiny")
    check_backbone("csp_darknet53_tiny", strides=(4, 8, 16))


def test_the_network() -> None:
    with torch.device("meta"):
        body = CSPDarknet53Tiny(CSPDarknet53TinySpec(strides=(4, 8, 16, 32)))
        maps = body(torch.empty(1, 3, 96, 128))
    assert body.channels == {4: 64, 8: 128, 16: 256, 32: 512}
    assert {s: tuple(m.shape[1:]) for s, m in maps.items()} == {s: (c, 96 // s, 128 // s) for s, c in body.channels.items()}


def test_only_what_is_wanted_is_built() -> None:
    body = CSPDarknet53Tiny(CSPDarknet53TinySpec(strides=(8,)))
    assert len(body.stages) == 2
    assert body.last is None


def test_the_inner_convolutions_see_the_second_half() -> None:
    stage = CSPDarknet53Tiny(CSPDarknet53TinySpec()).stages[0].eval()
    x = torch.randn(1, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = stage.first(x)  # type: ignore[operator]
        inner = stage.inner(first[:, 32:])  # type: ignore[operator]
        merged = stage.merge(torch.cat([stage.outer(inner), inner], dim=1))  # type: ignore[operator]
        found, both = stage(x)
    torch.testing.assert_close(found, merged)
    assert torch.equal(both, torch.cat([first, found], dim=1))
