from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import box_iou

from tests.core.ops.draw import boxes
from zoo_core.ops.iou import complete_iou, intersection, iof, iou


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


def test_complete_iou_of_known_boxes() -> None:
    square, beside, flat = (torch.tensor([b]) for b in ([0, 0, 2, 2.0], [2, 0, 4, 2.0], [0, 0, 4, 1.0]))
    assert complete_iou(square, square).item() == 1
    assert complete_iou(square, beside).item() == pytest.approx(-4 / 20)  # two apart, the farthest corners 4 x 2
    shapes = 4 / math.pi**2 * (math.atan(4) - math.atan(1)) ** 2
    overlap, apart = 2 / 6, (1 + 0.25) / (16 + 4)
    wanted = overlap - apart - shapes**2 / (1 - overlap + shapes)
    assert complete_iou(square, flat).item() == complete_iou(flat, square).item() == pytest.approx(wanted)
    assert complete_iou(square[:0], square[:0]).shape == (0,)


@pytest.mark.parametrize("seed", range(3))
def test_complete_iou_leads_to_the_goal(seed: int) -> None:
    found, goals = boxes(50, seed, least=0.1).requires_grad_(), boxes(50, seed + 100, least=0.1)
    value = complete_iou(found, goals)
    assert (value <= iou(found.detach(), goals).diagonal() + 1e-6).all()
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    assert (complete_iou(found.detach() + 1e-2 * found.grad, goals) > value).all()
