from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.golden.record import Record, equal
from zoo_core.ops.nms import suppress

pytestmark = pytest.mark.shared
MANY = 10_000


@pytest.fixture
def nms(record: Callable[[str], Record]) -> Record:
    return record("nms")


@pytest.mark.parametrize("bound", [0.3, 0.5, 0.7])
def test_within_groups(nms: Record, bound: float) -> None:
    kept = suppress(nms["boxes"], nms["scores"], nms["idxs"], bound, MANY)
    for case in (f"batched.{bound}", f"split100.{bound}"):
        equal(kept, nms[f"{case}.keep"])
        equal(torch.cat([nms["boxes"][kept], nms["scores"][kept, None]], dim=1), nms[f"{case}.dets"])


@pytest.mark.parametrize("bound", [0.3, 0.5, 0.7])
def test_in_one_group(nms: Record, bound: float) -> None:
    alone = torch.zeros_like(nms["idxs"])
    kept = suppress(nms["boxes"], nms["scores"], alone, bound, MANY)
    equal(kept, nms[f"nms.{bound}.inds"])
    equal(kept, nms[f"agnostic.{bound}.keep"])
    few = nms["scores"] > 0.4
    kept = suppress(nms["boxes"][few], nms["scores"][few], alone[few], bound, 50)
    equal(few.nonzero().squeeze(1)[kept], nms[f"nms_thr0.4_max50.{bound}.inds"])


def test_an_overlap_equal_to_the_bound_stays(nms: Record) -> None:
    kept = suppress(nms["equal.boxes"], torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64), 0.5, MANY)
    equal(kept, nms["equal.inds"])


def test_no_boxes(nms: Record) -> None:
    kept = suppress(nms["empty.dets"][:, :4], nms["empty.dets"][:, 4], nms["empty.inds"], 0.5, MANY)
    equal(kept, nms["empty.inds"])


def test_groups_may_meet_at_negative_coordinates(nms: Record) -> None:
    """A quirk of shifting the groups apart by the greatest coordinate; Faster R-CNN clips its boxes before."""
    case = nms.under("negative")
    kept = suppress(case["boxes"], case["scores"], case["idxs"], 0.5, MANY)
    equal(kept, case["keep"])
