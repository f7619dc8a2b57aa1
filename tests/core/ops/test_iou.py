from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from tests.core.ops.draw import boxes
from zoo_core.ops.iou import intersection, iof, iou


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("first", "second"), [(0, 5), (5, 0), (1, 1), (7, 300), (300, 7)])
def test_like_torchvision(first: int, second: int, seed: int) -> None:
    a, b = boxes(first, seed, least=0.1), boxes(second, seed + 100, least=0.1)
    torch.testing.assert_close(iou(a, b), box_iou(a, b), rtol=1e-6, atol=1e-7)


def test_known_overlaps() -> None:
    square, half, apart, touching = (
        torch.tensor([b]) for b in ([0, 0, 2, 2.0], [0, 0, 1, 2.0], [5, 5, 6, 6.0], [2, 0, 4, 2.0])
    )
    assert intersection(square, half).item() == 2
    assert iou(square, half).item() == 0.5
    assert iou(square, square).item() == 1
    assert iou(square, apart).item() == iou(square, touching).item() == 0
    assert iof(half, square).item() == 1
    assert iof(square, half).item() == 0.5


def test_boxes_without_area_overlap_nothing() -> None:
    points = torch.tensor([[3.0, 3.0, 3.0, 3.0], [3.0, 0.0, 3.0, 9.0]])
    around = torch.tensor([[0.0, 0.0, 9.0, 9.0], [3.0, 3.0, 3.0, 3.0]])
    assert not iou(points, around).any()
    assert not iof(points, around).any()


def test_the_inputs_stay() -> None:
    a, b = boxes(4, 1), boxes(6, 2)
    before = a.clone(), b.clone()
    iou(a, b)
    iof(a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])
