from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import nms

from tests.core.ops.draw import boxes
from zoo_core.ops.nms import suppress


def scores_of(count: int, seed: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [1, 50, 3000])  # torchvision takes another way beyond 1000
def test_each_group_on_its_own(count: int, seed: int) -> None:
    found, scores = boxes(count, seed), scores_of(count, seed)
    groups = torch.randint(0, 4, (count,), generator=torch.Generator().manual_seed(seed))
    wanted = torch.zeros(count, dtype=torch.bool)
    for group in range(4):
        rows = (groups == group).nonzero().squeeze(1)
        wanted[rows[nms(found[rows], scores[rows], 0.5)]] = True
    kept = suppress(found, scores, groups, 0.5, count)
    assert kept.sort().values.tolist() == wanted.nonzero().squeeze(1).tolist()
    assert scores[kept].diff().le(0).all()  # best first


def test_at_most() -> None:
    found, scores = boxes(500, 1), scores_of(500, 1)
    groups = torch.arange(500)  # nobody suppresses anybody
    assert torch.equal(suppress(found, scores, groups, 0.5, 7), scores.topk(7).indices)


def test_only_above_the_bound() -> None:
    pair = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 2.0]])  # overlap one half
    scores, group = torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64)
    assert suppress(pair, scores, group, 0.5, 9).tolist() == [0, 1]
    assert suppress(pair, scores, group, 0.49, 9).tolist() == [0]


def test_no_boxes() -> None:
    kept = suppress(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5, 9)
    assert kept.shape == (0,)
