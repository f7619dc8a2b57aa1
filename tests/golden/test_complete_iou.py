"""The recorded loss leaves the shapes out where boxes overlap by half or less (Zheng et al., 2021); the library does not.

So the values are compared where they overlap by more; equal boxes, for which the record has NaN, are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.golden.record import Record, close
from zoo_core.ops.iou import complete_iou, iou

pytestmark = pytest.mark.shared


def test_values_and_gradients(record: Callable[[str], Record]) -> None:
    losses = record("losses")
    wanted, gradient = losses["ciou.none.value"], losses["ciou.none.grad"]
    compared = (iou(losses["pred"], losses["target"]).diagonal() > 0.5) & wanted.isfinite()
    assert compared.sum() > 10
    found = losses["pred"].clone().requires_grad_()
    value = (1 - complete_iou(found, losses["target"])) * losses["weight"]
    close(value[compared], wanted[compared])
    value[compared].sum().backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    close(found.grad[compared], gradient[compared])
