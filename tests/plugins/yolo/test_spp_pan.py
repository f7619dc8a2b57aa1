from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from zoo_core.errors import InputError
from zoo_core.testing import check_neck
from zoo_yolo.layers import ConvNormAct
from zoo_yolo.specs import SPPPANSpec
from zoo_yolo.spp_pan import SPPPAN, Down, Up

CHANNELS = {8: 256, 16: 512, 32: 1024}


def test_contract() -> None:
    check_neck("spp_pan", channels={8: 8, 16: 12, 32: 16})
    check_neck("spp_pan", channels={4: 6, 8: 6})
    check_neck("spp_pan", channels={4: 4, 8: 4, 16: 8, 32: 8})


def test_the_groups_are_those_of_the_cfg() -> None:
    """(input, output, kernel) of each convolution before a detection layer, as yolov4.cfg has them."""
    with torch.device("meta"):
        neck = SPPPAN(SPPPANSpec(), CHANNELS)
    groups = neck.darknet_groups()
    shapes = {s: [(c.conv.in_channels, c.conv.out_channels, c.conv.kernel_size[0]) for c in g] for s, g in groups.items()}
    assert list(shapes) == [8, 16, 32]
    assert shapes[8] == [
        *((1024, 512, 1), (512, 1024, 3), (1024, 512, 1), (2048, 512, 1), (512, 1024, 3), (1024, 512, 1)),
        *((512, 256, 1), (512, 256, 1), (512, 256, 1), (256, 512, 3), (512, 256, 1), (256, 512, 3), (512, 256, 1)),
        *((256, 128, 1), (256, 128, 1), (256, 128, 1), (128, 256, 3), (256, 128, 1), (128, 256, 3), (256, 128, 1)),
        (128, 256, 3),
    ]
    assert shapes[16] == [
        (128, 256, 3),
        (512, 256, 1),
        (256, 512, 3),
        (512, 256, 1),
        (256, 512, 3),
        (512, 256, 1),
        (256, 512, 3),
    ]
    assert shapes[32] == [(256, 512, 3), (1024, 512, 1), *[(512, 1024, 3), (1024, 512, 1)] * 2, (512, 1024, 3)]
    assert [layer for group in groups.values() for layer in group] == [m for m in neck.modules() if isinstance(m, ConvNormAct)]
    assert neck.channels == CHANNELS


def test_the_pools_are_joined_from_the_largest() -> None:
    spp = SPPPAN(SPPPANSpec(), {16: 8, 32: 8}).spp.eval()
    seen: list[torch.Tensor] = []
    spp.after.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 8, 20, 17, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        spp(x)
        before = spp.before(x)
    assert torch.equal(seen[0], torch.cat([F.max_pool2d(before, k, 1, k // 2) for k in (13, 9, 5, 1)], dim=1))


def test_the_lateral_and_the_lower_map_come_first() -> None:
    neck = SPPPAN(SPPPANSpec(), {8: 8, 16: 12}).eval()
    maps = {8: torch.randn(1, 8, 4, 6), 16: torch.randn(1, 12, 2, 3)}
    seen: list[torch.Tensor] = []
    up, down = neck.up[0], neck.down[0]
    assert isinstance(up, Up)
    assert isinstance(down, Down)
    for part in (up.mix, down.mix):
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        neck(maps)
        top = neck.spp(maps[16])
        above = up.reduce(top).repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert torch.equal(seen[0], torch.cat([up.lateral(maps[8]), above], dim=1))
        mixed = up(top, maps[8])
        assert torch.equal(seen[1], torch.cat([down.down(mixed), top], dim=1))


def test_maps_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="neck 'spp_pan' needs two or more maps"):
        SPPPAN(SPPPANSpec(), {8: 8, 32: 8})
