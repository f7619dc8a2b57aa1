from __future__ import annotations

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign, roi_align

from tests.core.ops.draw import boxes
from zoo_core.ops.roi_align import pyramid_roi_align, roi_levels
from zoo_core.types import Features

STRIDES = (4, 8, 16, 32)


def pyramid(seed: int = 0, channels: int = 3, count: int = 2) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return {s: torch.randn(count, channels, 256 // s, 320 // s, generator=generator) for s in STRIDES}


def test_levels_double_with_the_side() -> None:
    sides = torch.tensor([1.0, 56.0, 111.9, 112.1, 223.9, 224.1, 447.9, 448.1, 5000.0])
    found = roi_levels(torch.stack([sides * 0, sides * 0, sides, sides], dim=1), 4)
    assert found.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert roi_levels(torch.tensor([[0.0, 0.0, 112.0, 112.0]]), 4).tolist() == [1]  # the border belongs above
    assert roi_levels(torch.tensor([[5.0, 5.0, 5.0, 5.0]]), 4).tolist() == [0]  # no area
    assert roi_levels(torch.zeros(0, 4), 4).shape == (0,)


@pytest.mark.parametrize("seed", range(3))
def test_like_torchvision(seed: int) -> None:
    """torchvision's pyramid has the same levels; its grid is not aligned, and samples twice per cell."""
    maps, found = pyramid(seed), boxes(60, seed, side=250, least=1)
    index = torch.arange(60) % 2
    pooled = pyramid_roi_align(maps, torch.cat([index[:, None], found], dim=1), 7, sampling=2, aligned=False)
    theirs = MultiScaleRoIAlign([str(s) for s in STRIDES], 7, 2)
    wanted = theirs({str(s): m for s, m in maps.items()}, [found[index == k] for k in range(2)], [(256, 320)] * 2)
    torch.testing.assert_close(torch.cat([pooled[index == k] for k in range(2)]), wanted, rtol=1e-5, atol=1e-5)


def test_regions_keep_their_order() -> None:
    maps, found = pyramid(1), boxes(50, 4, side=250, least=1)
    rois = torch.cat([torch.zeros(50, 1), found], dim=1)
    pooled = pyramid_roi_align(maps, rois, 3)
    levels = roi_levels(found, 4)
    assert len(set(levels.tolist())) > 2
    for row in range(0, 50, 7):
        stride = STRIDES[int(levels[row])]
        torch.testing.assert_close(pooled[row], roi_align(maps[stride], rois[row : row + 1], 3, 1 / stride, 0, True)[0])


def test_no_regions() -> None:
    pooled = pyramid_roi_align(pyramid(), torch.zeros(0, 5), 7)
    assert pooled.shape == (0, 3, 7, 7)


def test_gradient_reaches_every_level_that_is_used() -> None:
    maps = {stride: m.requires_grad_() for stride, m in pyramid().items()}
    rois = torch.tensor([[0.0, 0, 0, 20, 20], [1, 0, 0, 130, 130]])
    pyramid_roi_align(maps, rois, 7).sum().backward()  # type: ignore[no-untyped-call]
    assert [bool(m.grad is not None and m.grad.any()) for m in maps.values()] == [True, True, False, False]
