from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.golden.record import Record, equal
from zoo_core.types import Assignment
from zoo_rcnn.random_sampler import RandomSampler
from zoo_rcnn.specs import RandomSamplerSpec

pytestmark = pytest.mark.shared
CASES = (
    *("rpn_few_pos", "rpn_many_pos", "rpn_few_neg", "rpn_no_pos", "rcnn_few_pos", "rcnn_many_pos", "rcnn_no_gt", "rcnn_few"),
    *("neg_pos_ub", "neg_pos_ub_no_pos"),
)


@pytest.mark.parametrize("case", CASES)
def test_counts_and_the_very_indices(record: Callable[[str], Record], case: str) -> None:
    everything = record("random_sampler")
    wanted = everything.under(case)
    config, owners = wanted.settings["config"], wanted["in.gt_inds"]
    chosen = (owners > 0).nonzero().squeeze(1)
    assignment = Assignment(chosen, owners[chosen] - 1, owners < 0)
    boxes = wanted["in.priors"]
    if config["add_gt_as_proposals"]:
        assignment = assignment.with_targets_first(len(wanted["in.gt_bboxes"]))
        boxes = torch.cat([wanted["in.gt_bboxes"], boxes])
    bound = config["neg_pos_ub"]
    sampler = RandomSampler(
        RandomSamplerSpec(
            count=config["num"],
            positive_share=config["pos_fraction"],
            most_negatives_per_positive=bound if bound > 0 else None,
        )
    )

    torch.manual_seed(everything.settings["torch_manual_seed"])
    found = sampler(assignment)

    assert (len(found.priors), len(found.background())) == (wanted.settings["num_pos"], wanted.settings["num_neg"])
    assert max(len(found.priors), 1) + max(len(found.background()), 1) == wanted.settings["avg_factor"]
    equal(found.priors, wanted["out.pos_inds"])
    equal(found.background(), wanted["out.neg_inds"])
    equal(found.targets, wanted["out.pos_assigned_gt_inds"])
    equal(boxes[found.priors], wanted["out.pos_priors"])
    equal(wanted["in.gt_bboxes"][found.targets], wanted["out.pos_gt_bboxes"])
