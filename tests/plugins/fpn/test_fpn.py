from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from zoo_core.errors import InputError
from zoo_fpn.fpn import FPN
from zoo_fpn.specs import FPNSpec

CHANNELS = {4: 8, 8: 16, 16: 24, 32: 32}


def features(height: int, width: int, seed: int = 0) -> dict[int, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {s: torch.randn(2, c, -(-height // s), -(-width // s), generator=generator) for s, c in CHANNELS.items()}


@pytest.mark.parametrize(("height", "width"), [(128, 192), (100, 75), (33, 1)])
def test_like_torchvision(height: int, width: int) -> None:
    ours = FPN(FPNSpec(width=12), CHANNELS)
    theirs = FeaturePyramidNetwork(list(CHANNELS.values()), 12, extra_blocks=LastLevelMaxPool())
    for level, stride in enumerate(CHANNELS):
        theirs.inner_blocks[level][0].load_state_dict(ours.lateral[str(stride)].state_dict())
        theirs.layer_blocks[level][0].load_state_dict(ours.output[str(stride)].state_dict())
    maps = features(height, width)
    found = ours(maps)
    wanted = theirs(OrderedDict((str(s), m) for s, m in maps.items()))
    assert list(found) == [4, 8, 16, 32, 64]
    for map_, theirs_ in zip(found.values(), wanted.values(), strict=True):
        torch.testing.assert_close(map_, theirs_, rtol=1e-5, atol=1e-5)


def test_the_inputs_stay() -> None:
    maps = features(64, 64)
    before = {stride: m.clone() for stride, m in maps.items()}
    FPN(FPNSpec(width=12), CHANNELS)(maps)
    assert all(torch.equal(m, before[stride]) for stride, m in maps.items())


def test_extra_maps_are_subsampled_from_the_one_before() -> None:
    neck = FPN(FPNSpec(width=12, strides=(8, 16, 32, 64, 128)), CHANNELS)
    assert neck.channels == dict.fromkeys((8, 16, 32, 64, 128), 12)
    found = neck(features(256, 256))
    assert torch.equal(found[64], found[32][:, :, ::2, ::2])
    assert torch.equal(found[128], found[64][:, :, ::2, ::2])
    assert "4" not in neck.lateral


def test_every_map_learns() -> None:
    neck = FPN(FPNSpec(width=12), CHANNELS)
    sum(m.square().mean() for m in neck(features(64, 64)).values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in neck.parameters())


@pytest.mark.parametrize("strides", [(2, 4, 8), (64, 128), (16, 32, 64)])
def test_strides_that_the_backbone_does_not_have(strides: tuple[int, ...]) -> None:
    channels = {4: 8, 8: 16} if strides == (16, 32, 64) else CHANNELS
    with pytest.raises(InputError, match=rf"gives strides \[{strides[0]}, .* but the backbone has only \[4, "):
        FPN(FPNSpec(width=12, strides=strides), channels)


@pytest.mark.parametrize("strides", [(), (4, 16), (8, 4)])
def test_strides_that_do_not_double(strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="each stride must be twice the one before"):
        FPNSpec(strides=strides)
