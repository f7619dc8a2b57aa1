from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.golden.heads import RecordedSampler, rpn_features, rpn_of
from tests.golden.record import Record, batch_of, close, equal
from zoo_core.types import Targets
from zoo_rcnn.specs import RandomSamplerSpec, RPNSpec

pytestmark = pytest.mark.shared
EVERYTHING = RandomSamplerSpec(count=1_000_000, positive_share=1.0)


@pytest.mark.parametrize("mode", ["train", "test"])
def test_proposals(record: Callable[[str], Record], mode: str) -> None:
    wanted = record("rpn_proposals")
    settings = wanted.settings[mode]
    rpn = rpn_of(RPNSpec())
    raw = rpn(rpn_features(wanted.levels("cls_scores"), wanted.levels("bbox_preds")))
    metas = wanted.settings["img_metas"]
    assert settings["nms_pre"] == (rpn.spec.candidates_train if mode == "train" else rpn.spec.candidates)
    found = rpn.decode(raw, batch_of(metas, targets=[Targets()] * len(metas) if mode == "train" else ()))
    for image, proposals in enumerate(found):
        case = wanted.under(f"{mode}.{image}")
        close(proposals.boxes, case["bboxes"], atol=1e-3)
        close(proposals.scores, case["scores"])
        assert not proposals.labels.any()


@pytest.mark.parametrize("mode", ["train", "test"])
def test_how_many_proposals_suppression_leaves(record: Callable[[str], Record], mode: str) -> None:
    wanted = record("rpn_proposals")
    metas = wanted.settings["img_metas"]
    rpn = rpn_of(RPNSpec(proposals=100_000))
    raw = rpn(rpn_features(wanted.levels("cls_scores"), wanted.levels("bbox_preds")))
    found = rpn.decode(raw, batch_of(metas, targets=[Targets()] * len(metas) if mode == "train" else ()))
    assert [len(proposals) for proposals in found] == [int(wanted[f"{mode}.{k}.num_after_nms"]) for k in range(len(metas))]


@pytest.mark.parametrize("case", ["all", "sampled", "one_empty", "border0"])
def test_losses_and_gradients(record: Callable[[str], Record], case: str) -> None:
    everything = record("rpn_loss")
    wanted, metas = everything.under(case), everything.settings["img_metas"]
    boxes = [wanted[f"{image}.gt_bboxes"] for image in range(len(metas))]
    targets = [Targets(b, torch.zeros(len(b), dtype=torch.int64)) for b in boxes]
    border = wanted.settings["allowed_border"]
    rpn = rpn_of(RPNSpec(sampler=EVERYTHING, border=None if border < 0 else border))
    if case == "sampled":
        inside = [wanted[f"{k}.inside_flags"].long().cumsum(0) - 1 for k in range(len(metas))]
        rpn.sampler = RecordedSampler(
            [(rank[wanted[f"{k}.pos_inds"]], rank[wanted[f"{k}.neg_inds"]]) for k, rank in enumerate(inside)]
        )
    scores = [level.requires_grad_() for level in everything.levels("cls_scores")]
    deltas = [level.requires_grad_() for level in everything.levels("bbox_preds")]

    losses = rpn.losses(rpn(rpn_features(scores, deltas)), batch_of(metas, targets=targets))

    close(losses["objectness"], wanted["loss_rpn_cls"].sum())
    close(losses["boxes"], wanted["loss_rpn_bbox"].sum())
    close(sum(losses.values(), torch.zeros(())), torch.tensor(wanted.settings["total"]))
    sum(losses.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    if "grad_cls.0" in wanted:
        for level, (score, delta) in enumerate(zip(scores, deltas, strict=True)):
            assert score.grad is not None
            assert delta.grad is not None
            close(score.grad, wanted[f"grad_cls.{level}"], atol=1e-8)
            close(delta.grad, wanted[f"grad_bbox.{level}"], atol=1e-8)


@pytest.mark.parametrize("case", ["all", "one_empty", "border0"])
def test_which_anchors_are_trained_on(record: Callable[[str], Record], case: str) -> None:
    everything = record("rpn_loss")
    wanted, metas = everything.under(case), everything.settings["img_metas"]
    border = wanted.settings["allowed_border"]
    rpn = rpn_of(RPNSpec(sampler=EVERYTHING, border=None if border < 0 else border))
    raw = rpn(rpn_features(everything.levels("cls_scores"), everything.levels("bbox_preds")))
    anchors = torch.cat(list(raw.anchors.values()))
    divisor = 0
    for image in range(len(metas)):
        boxes = wanted[f"{image}.gt_bboxes"]
        targets = Targets(boxes, torch.zeros(len(boxes), dtype=torch.int64))
        found = rpn.sample(raw, anchors, targets, batch_of(metas), image)
        equal(found.priors, wanted[f"{image}.pos_inds"])
        equal(found.targets, wanted[f"{image}.pos_gt_inds"])
        equal(found.background(), wanted[f"{image}.neg_inds"])
        close(
            rpn.coder.encode(anchors[found.priors], boxes[found.targets]), wanted["targets.bbox_targets"][image][found.priors]
        )
        trained = torch.cat([found.priors, found.background()]).sort().values
        equal(trained, wanted["targets.label_weights"][image].nonzero().squeeze(1))
        equal((wanted["targets.labels"][image] == 0).nonzero().squeeze(1), found.priors)  # here 0 is the object
        divisor += max(len(found.priors), 1) + max(len(found.background()), 1)
    assert divisor == wanted.settings["avg_factor"]
