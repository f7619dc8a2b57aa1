from __future__ import annotations

import pytest
import torch

from zoo_core.errors import InputError
from zoo_core.testing import check_neck
from zoo_yolo.c3_pan import C3PAN
from zoo_yolo.layers import ConvNormAct
from zoo_yolo.specs import C3PANSpec


def test_contract() -> None:
    check_neck("c3_pan", channels={8: 8, 16: 16, 32: 24})
    check_neck("c3_pan", channels={4: 5, 8: 3}, depth=0.33)
    check_neck("c3_pan", channels={4: 8, 8: 8, 16: 16, 32: 16}, activation="relu")


def test_shapes_and_names() -> None:
    with torch.device("meta"):
        neck = C3PAN(C3PANSpec(), {8: 256, 16: 512, 32: 1024})
    weights = {n: tuple(m.conv.weight.shape) for n, m in neck.named_modules() if isinstance(m, ConvNormAct)}
    assert neck.channels == {8: 256, 16: 512, 32: 1024}
    assert [weights[f"reduce.{k}"] for k in (0, 1)] == [(512, 1024, 1, 1), (256, 512, 1, 1)]
    assert [weights[f"down.{k}"] for k in (0, 1)] == [(256, 256, 3, 3), (512, 512, 3, 3)]
    assert [weights[f"{n}.main"] for n in ("up.0", "up.1", "out.0", "out.1")] == [
        *((256, 1024, 1, 1), (128, 512, 1, 1), (256, 512, 1, 1), (512, 1024, 1, 1))
    ]
    assert [weights[f"{n}.merge"][0] for n in ("up.0", "up.1", "out.0", "out.1")] == [512, 256, 512, 1024]
    assert weights["up.0.blocks.2.expand"] == (256, 256, 3, 3)
    assert not any(block.shortcut for part in (*neck.up, *neck.out) for block in part.blocks)


def test_every_map_sees_every_map() -> None:
    neck = C3PAN(C3PANSpec(depth=0.1), {8: 8, 16: 8, 32: 8}).eval()
    for source in (8, 16, 32):
        maps = {s: torch.randn(1, 8, 128 // s, 128 // s).requires_grad_() for s in (8, 16, 32)}
        for stride, found in neck(maps).items():
            (gradient,) = torch.autograd.grad(found.sum(), maps[source], retain_graph=True)
            assert gradient.any(), (source, stride)


def test_the_upsampled_map_comes_first() -> None:
    """The order of the joined maps is that of the published weights."""
    neck = C3PAN(C3PANSpec(), {8: 4, 16: 6}).eval()
    maps = {8: torch.randn(1, 4, 4, 6), 16: torch.randn(1, 6, 2, 3)}
    seen: list[torch.Tensor] = []
    for part in (neck.up[0], neck.out[0]):
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        found = neck(maps)
        reduced = neck.reduce[0](maps[16])
        assert torch.equal(seen[0], torch.cat([reduced.repeat_interleave(2, 2).repeat_interleave(2, 3), maps[8]], dim=1))
        assert torch.equal(seen[1], torch.cat([neck.down[0](found[8]), reduced], dim=1))


@pytest.mark.parametrize("strides", [(8,), (8, 32), (8, 16, 64)])
def test_maps_that_do_not_fit(strides: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"neck 'c3_pan' needs two or more maps, .* the backbone has \[8"):
        C3PAN(C3PANSpec(), dict.fromkeys(strides, 8))
