from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.golden.heads import RecordedBoxHead, RecordedSampler
from tests.golden.record import Record, batch_of, close, equal
from zoo_core.build import build_part
from zoo_core.detectors.specs import KeepRatioSpec
from zoo_core.types import Detections, Targets
from zoo_rcnn.specs import BoxHeadSpec, RandomSamplerSpec

pytestmark = pytest.mark.shared
EVERYTHING = RandomSamplerSpec(count=1_000_000, positive_share=1.0)


def proposals_of(boxes: torch.Tensor) -> Detections:
    return Detections(boxes, torch.ones(len(boxes)), torch.zeros(len(boxes), dtype=torch.int64))


@pytest.mark.parametrize("case", ["few", "many"])
def test_detections(record: Callable[[str], Record], case: str) -> None:
    everything = record("bbox_head_predict")
    wanted = everything.under(case)
    head = RecordedBoxHead(BoxHeadSpec(width=8), wanted["cls_score"], wanted["bbox_pred"])
    batch = batch_of([everything.settings["img_meta"]])

    (found,) = head.detect({}, [proposals_of(wanted["rois"][:, 1:])], batch)

    equal(head.rois, wanted["rois"])
    close(found.boxes, wanted["rescale0.bboxes"], atol=1e-3)
    close(found.scores, wanted["rescale0.scores"])
    equal(found.labels, wanted["rescale0.labels"])
    (restored,) = build_part("preprocess", KeepRatioSpec()).restore([found], batch)
    close(restored.boxes, wanted["rescale1.bboxes"], atol=1e-3)
    close(restored.scores, wanted["rescale1.scores"])
    equal(restored.labels, wanted["rescale1.labels"])


@pytest.mark.parametrize("case", ["few", "many"])
def test_every_box_before_suppression(record: Callable[[str], Record], case: str) -> None:
    everything = record("bbox_head_predict")
    wanted = everything.under(case)
    head = RecordedBoxHead(BoxHeadSpec(width=8), wanted["cls_score"], wanted["bbox_pred"])
    logits, deltas = head({}, wanted["rois"])
    boxes = head.coder.decode(wanted["rois"][:, None, 1:], deltas, tuple(everything.settings["img_meta"]["img_shape"]))
    close(boxes.flatten(1), wanted["raw.bboxes"], atol=1e-3)
    close(logits.softmax(dim=1), wanted["raw.scores"])
    candidates = int((logits.softmax(dim=1)[:, :-1] > head.spec.least_score).sum())
    assert candidates == wanted.settings["num_candidates"]


def test_nothing_above_the_score(record: Callable[[str], Record]) -> None:
    everything = record("bbox_head_predict")
    wanted = everything.under("empty")
    logits = wanted["cls_score"]
    head = RecordedBoxHead(BoxHeadSpec(width=8), logits, torch.zeros(len(logits), 4 * (logits.shape[1] - 1)))
    (found,) = head.detect({}, [proposals_of(wanted["rois"][:, 1:])], batch_of([everything.settings["img_meta"]]))
    equal(found.boxes, wanted["bboxes"])
    equal(found.labels, wanted["labels"])


@pytest.mark.parametrize("case", ["all", "sampled", "no_pos", "no_gt"])
def test_losses_and_gradients(record: Callable[[str], Record], case: str) -> None:
    everything = record("roi_loss")
    wanted = everything.under(case)
    logits, deltas = everything["cls_score"].requires_grad_(), everything["bbox_pred"].requires_grad_()
    spec = BoxHeadSpec(width=8, sampler=EVERYTHING, add_targets=wanted.settings["sampler"]["add_gt_as_proposals"])
    head = RecordedBoxHead(spec, logits, deltas)
    if case == "sampled":
        head.sampler = RecordedSampler([(wanted[f"{k}.pos_inds"], wanted[f"{k}.neg_inds"]) for k in range(2)])
    targets = [Targets(wanted[f"{k}.gt_bboxes"], wanted[f"{k}.gt_labels"]) for k in range(2)]
    metas = [{"img_shape": (128, 160), "pad_shape": (128, 160), "ori_shape": (128, 160), "batch_input_shape": (128, 160)}] * 2

    proposals = [proposals_of(boxes) for boxes in everything.levels("proposals")]
    losses = head.losses({}, proposals, batch_of(metas, targets=targets))

    equal(head.rois, wanted["rois"])
    close(losses["classes"], wanted["loss_cls"])
    close(losses["boxes"], wanted["loss_bbox"])
    sum(losses.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert deltas.grad is not None
    if "grad_cls" in wanted:
        close(logits.grad[: len(head.rois)], wanted["grad_cls"], atol=1e-8)
        close(deltas.grad[: len(head.rois)], wanted["grad_bbox"], atol=1e-8)
    else:
        assert not deltas.grad.any()


@pytest.mark.parametrize("case", ["all", "no_pos", "no_gt"])
def test_which_regions_are_trained_on(record: Callable[[str], Record], case: str) -> None:
    everything = record("roi_loss")
    wanted = everything.under(case)
    spec = BoxHeadSpec(width=8, sampler=EVERYTHING, add_targets=wanted.settings["sampler"]["add_gt_as_proposals"])
    head = RecordedBoxHead(spec, everything["cls_score"], everything["bbox_pred"])
    labels, goals = [], []
    for image, boxes in enumerate(everything.levels("proposals")):
        targets = Targets(wanted[f"{image}.gt_bboxes"], wanted[f"{image}.gt_labels"])
        regions, found = head.sample(proposals_of(boxes), targets)
        equal(found.priors, wanted[f"{image}.pos_inds"])
        equal(found.targets, wanted[f"{image}.pos_gt_inds"])
        equal(found.background(), wanted[f"{image}.neg_inds"])
        labels += [targets.labels[found.targets], torch.full((len(found.background()),), head.num_classes)]
        goals.append(head.coder.encode(regions[found.priors], targets.boxes[found.targets]))
    equal(torch.cat(labels), wanted["targets.labels"])
    close(torch.cat(goals), wanted["targets.bbox_targets"][wanted["targets.bbox_weights"][:, 0] > 0])
    assert wanted["targets.label_weights"].all()
