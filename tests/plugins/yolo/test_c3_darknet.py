from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo_core.errors import SpecError
from zoo_core.testing import check_backbone
from zoo_yolo.c3 import C3, SPPF, Bottleneck, repeated
from zoo_yolo.c3_darknet import C3Darknet, widened
from zoo_yolo.layers import ConvNormAct
from zoo_yolo.specs import C3DarknetSpec

SMALL: dict[str, Any] = {"depth": 0.33, "width": 0.125}


def test_contract() -> None:
    check_backbone("c3_darknet", **SMALL)
    check_backbone("c3_darknet", **SMALL, strides=(4, 8), activation="leaky")


@pytest.mark.parametrize(
    ("depth", "width", "channels"),
    [(0.33, 0.25, (64, 128, 256)), (0.67, 0.75, (192, 384, 768)), (1.33, 1.25, (320, 640, 1280))],
)
def test_channels(depth: float, width: float, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        body = C3Darknet(C3DarknetSpec(depth=depth, width=width))
        maps = body(torch.empty(1, 3, 96, 128))
    assert body.channels == dict(zip((8, 16, 32), channels, strict=True))
    assert {s: tuple(m.shape[1:]) for s, m in maps.items()} == {s: (c, 96 // s, 128 // s) for s, c in body.channels.items()}


def test_the_names_and_their_order() -> None:
    """An importer maps the layers of published checkpoints to these names."""
    with torch.device("meta"):
        body = C3Darknet(C3DarknetSpec())
    names = [name for name, module in body.named_modules() if isinstance(module, ConvNormAct)]
    stage = ["down", "block.main", "block.side", "block.merge"]
    wanted = ["stem"]
    for number, count in enumerate((3, 6, 9, 3)):
        blocks = [f"block.blocks.{k}.{part}" for k in range(count) for part in ("reduce", "expand")]
        wanted += [f"stages.{number}.{name}" for name in (*stage, *blocks)]
    assert names == [*wanted, "pool.reduce", "pool.merge"]
    assert body.stem.conv.weight.shape == (64, 3, 6, 6)
    assert body.stem.norm is not None
    assert (body.stem.norm.eps, body.stem.norm.momentum) == (1e-3, 0.03)


def test_only_what_is_wanted_is_built() -> None:
    body = C3Darknet(C3DarknetSpec(**SMALL, strides=(8, 16)))
    assert len(body.stages) == 3
    assert body.pool is None
    assert list(body(torch.zeros(1, 3, 64, 64))) == [8, 16]


def test_the_pool_sees_windows_of_5_9_and_13() -> None:
    pool = SPPF(ConvNormAct, 4, 6).eval()
    seen: list[torch.Tensor] = []
    pool.merge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 4, 20, 17, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert pool(x).shape == (1, 6, 20, 17)
        reduced = pool.reduce(x)
        maps = [torch.nn.functional.max_pool2d(reduced, k, 1, k // 2) for k in (1, 5, 9, 13)]
    assert torch.equal(seen[0], torch.cat(maps, dim=1))


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_shortcut_is_what_the_block_adds_to(shortcut: bool) -> None:
    block = C3(ConvNormAct, 4, 8, 1, shortcut).blocks[0].eval()
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    assert isinstance(block, Bottleneck)
    wanted = block.expand(block.reduce(x)) + (x if shortcut else 0)
    with torch.no_grad():
        found = block(x)
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(block(x), wanted)
    assert torch.equal(x, before)


def test_the_blocks_come_before_the_side() -> None:
    """The order of the joined halves is that of the published weights."""
    block = C3(ConvNormAct, 4, 8, 2).eval()
    x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = block.merge(torch.cat([block.blocks(block.main(x)), block.side(x)], dim=1))
        torch.testing.assert_close(block(x), wanted)


def test_multiples() -> None:
    assert [widened(c, 0.25) for c in (64, 100)] == [16, 32]
    assert [repeated(n, 0.33) for n in (3, 6, 9, 1)] == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": (16, 8)}, "strides must ascend"),
        ({"strides": ()}, "strides must ascend"),
        ({"strides": (8, 64)}, "strides.1"),
        ({"width": 0}, "width"),
        ({"activation": "silo"}, "activation"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        C3DarknetSpec(**options)
