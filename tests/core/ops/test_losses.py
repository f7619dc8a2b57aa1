from __future__ import annotations

import math

import pytest
import torch

from zoo_core.ops.losses import binary_cross_entropy, l1, smooth_l1, softmax_cross_entropy


def test_known_values() -> None:
    assert softmax_cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 3]), 2).item() == pytest.approx(3 * math.log(4) / 2)
    assert binary_cross_entropy(torch.zeros(5), torch.ones(5), 10).item() == pytest.approx(5 * math.log(2) / 10)
    found, goals = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 1.0]])
    assert l1(found, goals, 7).item() == pytest.approx(3.5 / 7)
    assert smooth_l1(found, goals, 1, beta=1.0).item() == pytest.approx(0.5 * 0.25 + 2.5)
    assert smooth_l1(found, goals, 2, beta=0.5).item() == pytest.approx((0.25 + 2.75) / 2)


def test_nothing_costs_nothing_and_still_has_a_gradient() -> None:
    logits, boxes = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, 4, requires_grad=True)
    total = softmax_cross_entropy(logits, torch.zeros(0, dtype=torch.int64), 1) + l1(boxes, torch.zeros(0, 4), 1)
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 0
    assert logits.grad is not None


def test_the_divisor_may_be_a_tensor() -> None:
    assert l1(torch.ones(4), torch.zeros(4), torch.tensor(8.0)).item() == 0.5


def test_great_logits_stay_finite() -> None:
    assert binary_cross_entropy(torch.tensor([1e4, -1e4]), torch.tensor([0.0, 1.0]), 1).item() == pytest.approx(2e4)
    assert softmax_cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([1]), 1).item() == pytest.approx(2e4)
