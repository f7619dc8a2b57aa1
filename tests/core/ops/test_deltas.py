from __future__ import annotations

import math

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder

from tests.core.ops.draw import boxes
from zoo_core.ops.deltas import MOST_LOG_RATIO, DeltaCoder

STD = (0.1, 0.1, 0.2, 0.2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_like_torchvision(count: int, seed: int) -> None:
    from_, to = boxes(count, seed, least=10), boxes(count, seed + 100, least=10)
    theirs = BoxCoder((10.0, 10.0, 5.0, 5.0))
    found = DeltaCoder(STD).encode(from_, to)
    torch.testing.assert_close(found, theirs.encode_single(to, from_), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(DeltaCoder(STD).decode(from_, found), theirs.decode_single(found, from_), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("coder", [DeltaCoder(), DeltaCoder(STD), DeltaCoder(STD, (0.1, -0.2, 0.3, 0.4))])
def test_there_and_back(coder: DeltaCoder) -> None:
    from_, to = boxes(200, 1, least=2), boxes(200, 2, least=2)
    torch.testing.assert_close(coder.decode(from_, coder.encode(from_, to)), to, rtol=1e-4, atol=1e-3)


def test_what_the_numbers_mean() -> None:
    box = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # 20 x 40 about (20, 40)
    goal = torch.tensor([[20.0, 40.0, 60.0, 60.0]])  # 40 x 20 about (40, 50)
    torch.testing.assert_close(DeltaCoder().encode(box, goal), torch.tensor([[1.0, 0.25, math.log(2), -math.log(2)]]))
    shifted = DeltaCoder(STD, (0.5, 0.0, 0.0, 0.0)).encode(box, goal)
    torch.testing.assert_close(shifted, torch.tensor([[5.0, 2.5, 5 * math.log(2), -5 * math.log(2)]]))


def test_growth_is_bounded() -> None:
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    grown, shrunk = (DeltaCoder().decode(box, torch.tensor([[0.0, 0.0, d, d]])) for d in (100.0, -100.0))
    torch.testing.assert_close(grown[:, 2:] - grown[:, :2], torch.full((1, 2), 625.0))
    torch.testing.assert_close(shrunk[:, 2:] - shrunk[:, :2], torch.full((1, 2), 0.16), rtol=1e-4, atol=0)
    assert pytest.approx(62.5) == math.exp(MOST_LOG_RATIO)


def test_shrinking_may_be_unbounded() -> None:
    box, deltas = torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[0.0, 0.0, -7.0, 100.0]])
    found = DeltaCoder(least_log_ratio=-math.inf).decode(box, deltas)
    torch.testing.assert_close(found[:, 2:] - found[:, :2], torch.tensor([[10 * math.exp(-7), 625.0]]), rtol=1e-3, atol=0)


def test_decode_clips_and_broadcasts_over_classes() -> None:
    from_ = boxes(5, 1, least=1)
    deltas = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))
    found = DeltaCoder().decode(from_[:, None], deltas, (40, 60))
    assert found.shape == (5, 3, 4)
    assert found.min() >= 0
    assert found[..., 0::2].max() <= 60
    assert found[..., 1::2].max() <= 40
    one = DeltaCoder().decode(from_, deltas[:, 2], (40, 60))
    torch.testing.assert_close(found[:, 2], one)
