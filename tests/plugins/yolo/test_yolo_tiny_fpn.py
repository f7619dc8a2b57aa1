from __future__ import annotations

import pytest
import torch

from zoo_core.errors import InputError
from zoo_core.testing import check_neck
from zoo_yolo.specs import YoloTinyFPNSpec
from zoo_yolo.yolo_tiny_fpn import YoloTinyFPN


def test_contract() -> None:
    check_neck("yolo_tiny_fpn", channels={16: 8, 32: 12})
    check_neck("yolo_tiny_fpn", channels={4: 3, 8: 5})


def test_the_groups_are_those_of_the_cfg() -> None:
    with torch.device("meta"):
        neck = YoloTinyFPN(YoloTinyFPNSpec(), {16: 256, 32: 512})
    groups = neck.darknet_groups()
    shapes = {s: [(c.conv.in_channels, c.conv.out_channels, c.conv.kernel_size[0]) for c in g] for s, g in groups.items()}
    assert list(shapes) == [32, 16]
    assert shapes == {32: [(512, 256, 1), (256, 512, 3)], 16: [(256, 128, 1), (384, 256, 3)]}
    assert neck.channels == {16: 256, 32: 512}


def test_the_upsampled_map_comes_first() -> None:
    neck = YoloTinyFPN(YoloTinyFPNSpec(), {16: 4, 32: 8}).eval()
    maps = {16: torch.randn(1, 4, 4, 6), 32: torch.randn(1, 8, 2, 3)}
    with torch.no_grad():
        found = neck(maps)
        reduced = neck.reduce(maps[32])
        above = neck.up(reduced).repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(found[16], neck.out_fine(torch.cat([above, maps[16]], dim=1)))
        torch.testing.assert_close(found[32], neck.out_coarse(reduced))


def test_three_maps() -> None:
    with pytest.raises(InputError, match=r"'yolo_tiny_fpn' takes two maps; the backbone has \[8, 16, 32\]: give two of them"):
        YoloTinyFPN(YoloTinyFPNSpec(), {8: 8, 16: 8, 32: 8})
