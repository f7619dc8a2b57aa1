"""The library's losses are plain sums, because Faster R-CNN has no weights other than 0 and 1, which select.

A recorded loss with weights is the sum of the single losses, each times its weight.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.golden.record import Record, close
from zoo_core.ops.losses import binary_cross_entropy, l1, smooth_l1, softmax_cross_entropy

pytestmark = pytest.mark.shared
NAMES = ("ce_softmax", "ce_softmax_cw", "ce_softmax_ignore", "ce_sigmoid_rpn", "ce_sigmoid_onehot", "l1", "smooth_l1")
CLASS_WEIGHTS = (0.5, 1.0, 2.0, 1.0, 0.25, 3.0)


def one_by_one(loss: Callable[[Tensor, Tensor, float], Tensor], found: Tensor, goals: Tensor) -> Tensor:
    """Return the loss of each element of the first axis."""
    return torch.stack([loss(found[row : row + 1], goals[row : row + 1], 1.0) for row in range(len(found))])


def cross_entropies(losses: Record, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the prediction, the loss of each row (N,) or element (N, C), and its weight."""
    logits = losses["logits"].clone().requires_grad_()
    if name == "ce_softmax":
        return logits, one_by_one(softmax_cross_entropy, logits, losses["labels"]), losses["weight"]
    if name == "ce_softmax_cw":
        weights = losses["weight"] * torch.tensor(CLASS_WEIGHTS)[losses["labels"]]
        return logits, one_by_one(softmax_cross_entropy, logits, losses["labels"]), weights
    if name == "ce_softmax_ignore":
        return logits, one_by_one(softmax_cross_entropy, logits, losses["labels_ignore"]), losses["weight"]
    if name == "ce_sigmoid_rpn":
        logits = losses["binary_logits"].clone().requires_grad_()
        goals = (losses["binary_labels"] == 0).float()[:, None]  # 0 is the object
    else:
        goals = F.one_hot(losses["labels_bg"], logits.shape[1] + 1)[:, :-1].float()  # the last one is the background
    single = one_by_one(binary_cross_entropy, logits.flatten(), goals.flatten()).view_as(logits)
    return logits, single, losses["weight"][:, None].expand_as(logits)


def distances(losses: Record, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the prediction, the loss of each element (N, 4), and its weight."""
    found = losses["pred"].clone().requires_grad_()

    def loss(a: Tensor, b: Tensor, divisor: float) -> Tensor:
        return l1(a, b, divisor) if name == "l1" else smooth_l1(a, b, divisor, beta=1 / 9)

    return found, one_by_one(loss, found.flatten(), losses["target"].flatten()).view_as(found), losses["weight4"]


@pytest.mark.parametrize(
    ("name", "reduction"),
    [*product(NAMES, ("none", "sum", "mean")), ("ce_softmax", "mean_noavg"), ("l1", "mean_noavg")],
)
def test_values_and_gradients(record: Callable[[str], Record], name: str, reduction: str) -> None:
    losses = record("losses")
    found, single, weight = (cross_entropies if name.startswith("ce_") else distances)(losses, name)
    value = single * weight
    if reduction != "none":
        settings = losses.settings[f"{name}.{reduction}"]
        divisor = 1 if reduction == "sum" else settings["avg_factor"] or single.numel()
        value = value.sum() / divisor * settings["config"].get("loss_weight", 1.0)
    close(value, losses[f"{name}.{reduction}.value"].view_as(value))
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    close(found.grad, losses[f"{name}.{reduction}.grad"], atol=1e-7)


def test_a_sum_over_rows_is_the_sum_of_the_rows(record: Callable[[str], Record]) -> None:
    losses = record("losses")
    for function, found, goals in (
        (softmax_cross_entropy, losses["logits"], losses["labels"]),
        (binary_cross_entropy, losses["logits"], losses["logits"].sigmoid()),
        (l1, losses["pred"], losses["target"]),
        (smooth_l1, losses["pred"], losses["target"]),
    ):
        close(function(found, goals, 17.0), one_by_one(function, found, goals).sum() / 17)
