from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.record import Record, close, equal
from zoo_core.ops.iou import iou
from zoo_core.types import ANY_LABEL, Assignment, Targets
from zoo_rcnn.max_iou import MaxIoU
from zoo_rcnn.specs import MaxIoUSpec

pytestmark = pytest.mark.shared
CASES = (
    *("rpn", "rcnn", "rpn_low_quality", "rpn_low_quality_not_all", "rpn_no_low_quality", "rpn_tied_anchors", "rpn_overwrite"),
    *("rpn_duplicate_gts", "rpn_ignore", "rpn_ignore_wrt_gt", "rcnn_ignore", "rpn_ignore_disabled", "rpn_zero_gts"),
    *("rcnn_zero_gts", "rcnn_zero_priors", "neg_range"),
)


def spec_of(config: Mapping[str, Any], **more: Any) -> MaxIoUSpec:
    negative, ignore = config["neg_iou_thr"], config["ignore_iof_thr"]
    return MaxIoUSpec(
        positive=config["pos_iou_thr"],
        negative=tuple(negative) if isinstance(negative, list) else negative,
        low_quality=config["match_low_quality"],
        least_low_quality=config["min_pos_iou"],
        all_ties=config.get("gt_max_assign_all", True),
        ignore=ignore if ignore > 0 else None,
        ignore_share_of="prior" if config.get("ignore_wrt_candidates", True) else "region",
        **more,
    )


def owners(assignment: Assignment) -> Tensor:
    """Return the assignment in MMDetection's form: 0 background, -1 ignored, k + 1 the target k."""
    found = -assignment.ignored.long()
    found[assignment.priors] = assignment.targets + 1
    return found


@pytest.mark.parametrize("case", CASES)
def test_assignment(record: Callable[[str], Record], case: str) -> None:
    everything = record("max_iou_assigner")
    assert set(CASES) == set(everything.settings)
    wanted = everything.under(case)
    priors = everything["anchors"] if wanted.settings["uses_shared_anchors"] else wanted["priors"]
    ignored = wanted["gt_bboxes_ignore"] if "gt_bboxes_ignore" in wanted else torch.zeros(0, 4)
    targets = Targets(wanted["gt_bboxes"], wanted["gt_labels"], ignored, torch.full((len(ignored),), ANY_LABEL))

    found = MaxIoU(spec_of(wanted.settings["config"]))(priors, targets)

    equal(owners(found), wanted["out.gt_inds"])
    equal(targets.labels[found.targets], wanted["out.labels"][found.priors])
    counts = (len(found.priors), len(found.background()), int(found.ignored.sum()))
    assert counts == tuple(wanted.settings[name] for name in ("num_pos", "num_neg", "num_ignored"))
    # Overlaps are recorded as -1 where a region was ignored.
    seen = wanted["out.max_overlaps"] >= 0
    if len(targets) and len(priors):
        close(iou(targets.boxes, priors).amax(dim=0)[seen], wanted["out.max_overlaps"][seen])


@pytest.mark.parametrize("case", ["rpn_low_quality", "rpn_low_quality_not_all", "rpn_ignore", "rpn_ignore_wrt_gt"])
def test_chunks_change_nothing(record: Callable[[str], Record], case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = record("max_iou_assigner")
    wanted = everything.under(case)
    ignored = wanted["gt_bboxes_ignore"] if "gt_bboxes_ignore" in wanted else torch.zeros(0, 4)
    targets = Targets(wanted["gt_bboxes"], wanted["gt_labels"], ignored, torch.full((len(ignored),), ANY_LABEL))
    monkeypatch.setattr("zoo_rcnn.max_iou.FLOATS_PER_PAIR", 2**20 // (4 * 37 * max(len(targets), 1)))  # 37 priors at a time
    found = MaxIoU(spec_of(wanted.settings["config"], budget_mib=1))(everything["anchors"], targets)
    equal(owners(found), wanted["out.gt_inds"])
