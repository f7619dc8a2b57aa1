"""Losses as sums over a divisor: the caller knows what to divide by."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def softmax_cross_entropy(logits: Tensor, labels: Tensor, divisor: float | Tensor) -> Tensor:
    """Return the cross entropy of logits (N, K) with labels (N,), summed, over `divisor`."""
    return F.cross_entropy(logits, labels, reduction="sum") / divisor


def binary_cross_entropy(logits: Tensor, goals: Tensor, divisor: float | Tensor) -> Tensor:
    """Return the cross entropy of the sigmoid of logits (…) with goals (…) 0 … 1, summed, over `divisor`."""
    return F.binary_cross_entropy_with_logits(logits, goals, reduction="sum") / divisor


def l1(found: Tensor, goals: Tensor, divisor: float | Tensor) -> Tensor:
    """Return the absolute differences of two tensors (…), summed, over `divisor`."""
    return F.l1_loss(found, goals, reduction="sum") / divisor


def smooth_l1(found: Tensor, goals: Tensor, divisor: float | Tensor, beta: float = 1.0) -> Tensor:
    """Return the smooth absolute differences (Girshick, "Fast R-CNN", 2015, equation 3), summed, over `divisor`."""
    return F.smooth_l1_loss(found, goals, reduction="sum", beta=beta) / divisor
