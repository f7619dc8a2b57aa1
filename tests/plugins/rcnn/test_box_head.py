from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import nms

from tests.plugins.rcnn.draw import batch, boxes, features, proposals, targets
from zoo_core.errors import InputError, SpecError
from zoo_core.types import Detections, Targets
from zoo_rcnn.box_head import BoxHead, as_rois
from zoo_rcnn.specs import BoxHeadSpec, MaxIoUSpec, RandomSamplerSpec

STRIDES = (4, 8, 16, 32)
WIDTH, CLASSES = 3, 4
FRAME = (128, 160)
EVERYTHING = RandomSamplerSpec(count=100_000, positive_share=1.0)


def head_of(spec: BoxHeadSpec | None = None, seed: int = 0) -> BoxHead:
    torch.manual_seed(seed)
    head = BoxHead(spec or BoxHeadSpec(width=16), dict.fromkeys(STRIDES, WIDTH), CLASSES)
    torch.nn.init.normal_(head.classes.weight, std=1.0)
    torch.nn.init.normal_(head.deltas.weight, std=0.3)
    return head


def maps(count: int = 1, seed: int = 0) -> dict[int, torch.Tensor]:
    return features(STRIDES, FRAME, width=WIDTH, count=count, seed=seed)


def test_forward() -> None:
    head = head_of()
    logits, deltas = head(maps(2), as_rois([boxes(3, 1), boxes(2, 2)]))
    assert logits.shape == (5, CLASSES + 1)
    assert deltas.shape == (5, CLASSES, 4)


def test_as_rois() -> None:
    found = as_rois([boxes(2, 1), boxes(0, 1), boxes(1, 2)])
    assert found[:, 0].tolist() == [0, 0, 2]
    assert torch.equal(found[:, 1:], torch.cat([boxes(2, 1), boxes(1, 2)]))


@pytest.mark.parametrize("seed", range(3))
def test_detections(seed: int) -> None:
    head = head_of(BoxHeadSpec(width=16, most_detections=20, least_score=0.2), seed)
    sizes = [(100, 150), (60, 90)]
    found = head.detect(maps(2, seed), [proposals(80, seed), proposals(30, seed + 1)], batch(sizes, FRAME))
    for detections, (height, width) in zip(found, sizes, strict=True):
        assert 0 < len(detections) <= 20
        assert detections.scores.diff().le(0).all()
        assert detections.scores.min() > 0.2
        assert 0 <= detections.labels.min() <= detections.labels.max() < CLASSES
        assert detections.boxes.min() >= 0
        assert detections.boxes[:, 2].max() <= width
        assert detections.boxes[:, 3].max() <= height


@pytest.mark.parametrize("seed", range(3))
def test_select_one_class_at_a_time(seed: int) -> None:
    head = head_of(BoxHeadSpec(width=16, most_detections=10_000))
    generator = torch.Generator().manual_seed(seed)
    rois, deltas = boxes(100, seed), torch.randn(100, CLASSES, 4, generator=generator)
    scores = torch.randn(100, CLASSES + 1, generator=generator).softmax(dim=1)
    found = head.select(rois, scores, deltas, FRAME)
    for label in range(CLASSES):
        rows = (scores[:, label] > 0.05).nonzero().squeeze(1)
        decoded = head.coder.decode(rois[rows], deltas[rows, label], FRAME)
        kept = nms(decoded, scores[rows, label], 0.5)
        mine = found.labels == label
        torch.testing.assert_close(found.boxes[mine], decoded[kept])
        torch.testing.assert_close(found.scores[mine], scores[rows, label][kept])


def test_the_background_is_never_detected() -> None:
    scores = torch.zeros(3, CLASSES + 1)
    scores[:, -1] = 1
    assert len(head_of().select(boxes(3, 1), scores, torch.zeros(3, CLASSES, 4), FRAME)) == 0


def test_a_score_must_be_greater_than_the_bound() -> None:
    scores = torch.tensor([[0.05, 0.0501, 0, 0, 0.8999]])
    found = head_of().select(boxes(1, 1), scores, torch.zeros(1, CLASSES, 4), FRAME)
    assert found.labels.tolist() == [1]


def test_no_proposals() -> None:
    head, nothing = head_of(), Detections()
    (found,) = head.detect(maps(), [nothing], batch([FRAME], FRAME))
    assert len(found) == 0
    first, second = head.detect(maps(2), [nothing, proposals(20, 1)], batch([FRAME] * 2, FRAME))
    assert len(first) == 0 < len(second)
    losses = head.losses(maps(), [nothing], batch([FRAME], FRAME, [Targets()]))
    assert {name: float(value.detach()) for name, value in losses.items()} == {"classes": 0, "boxes": 0}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("counts", [(0, 0), (2, 0), (3, 40)])
def test_losses_are_finite_and_reach_every_parameter(counts: tuple[int, int], seed: int) -> None:
    head = head_of(seed=seed)
    given = [targets(count, seed + k, classes=CLASSES) for k, count in enumerate(counts)]
    losses = head.losses(maps(2, seed), [proposals(60, seed), proposals(60, seed + 9)], batch([FRAME] * 2, FRAME, given))
    assert set(losses) == {"classes", "boxes"}
    assert (losses["boxes"] > 0) == any(counts)
    sum(losses.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_both_losses_are_over_all_regions() -> None:
    head = head_of(BoxHeadSpec(width=16, sampler=EVERYTHING))
    goals = Targets(torch.tensor([[10.0, 10, 60, 60]]), torch.tensor([2]))
    found = Detections(torch.tensor([[12.0, 10, 60, 62], [70, 70, 90, 99]]), torch.ones(2), torch.zeros(2, dtype=torch.int64))
    losses = head.losses(maps(), [found], batch([FRAME], FRAME, [goals]))
    logits, deltas = head(maps(), as_rois([torch.cat([goals.boxes, found.boxes])]))
    labels = torch.tensor([2, 2, CLASSES])
    torch.testing.assert_close(losses["classes"], torch.nn.functional.cross_entropy(logits, labels))
    wanted = torch.cat([torch.zeros(1, 4), head.coder.encode(found.boxes[:1], goals.boxes)])
    torch.testing.assert_close(losses["boxes"], (deltas[:2, 2] - wanted).abs().sum() / 3)


def test_targets_come_first_or_not_at_all() -> None:
    goals = targets(3, 1, classes=CLASSES)
    regions, found = head_of(BoxHeadSpec(width=16, sampler=EVERYTHING)).sample(proposals(10, 2), goals)
    assert torch.equal(regions[:3], goals.boxes)
    assert found.priors[:3].tolist() == found.targets[:3].tolist() == [0, 1, 2]
    regions, _ = head_of(BoxHeadSpec(width=16, sampler=EVERYTHING, add_targets=False)).sample(proposals(10, 2), goals)
    assert torch.equal(regions, proposals(10, 2).boxes)


def test_proposals_in_ignored_regions_are_left_out() -> None:
    region = torch.tensor([[0.0, 0, 50, 50]])
    given = Targets(ignored=region, ignored_labels=torch.tensor([-1]))
    inside = Detections(torch.tensor([[5.0, 5, 40, 40], [60, 60, 90, 90]]), torch.ones(2), torch.zeros(2, dtype=torch.int64))
    spec = BoxHeadSpec(width=16, assigner=MaxIoUSpec(ignore=0.5))
    _, found = head_of(spec).sample(inside, given)
    assert found.background().tolist() == [1]


def test_what_it_cannot_be_built_for() -> None:
    with pytest.raises(InputError, match=r"pools from strides \[16, 32\], but the maps have \[4, 8\]"):
        BoxHead(BoxHeadSpec(), {4: 8, 8: 8}, 3)
    with pytest.raises(InputError, match="needs maps of the same width"):
        BoxHead(BoxHeadSpec(), {4: 8, 8: 8, 16: 8, 32: 9}, 3)
    with pytest.raises(SpecError, match="roi_sampling: input should be less than or equal to 64"):  # it would take for ever
        BoxHeadSpec(roi_sampling=10**6)


def test_detections_that_are_too_small() -> None:
    rois = torch.tensor([[10.0, 10, 60, 60], [70, 10, 70.005, 60], [10, 70, 60, 70.02]])
    scores, deltas = torch.tensor([[0.9, 0, 0, 0.1]] * 3), torch.zeros(3, CLASSES, 4)
    every, large = (
        head_of(BoxHeadSpec(width=16, least_side=side)).select(rois, scores, deltas, FRAME) for side in (None, 1e-2)
    )
    torch.testing.assert_close(every.boxes, rois)
    torch.testing.assert_close(large.boxes, rois[[0, 2]])
    assert large.labels.tolist() == [0, 0]


def test_a_detection_may_shrink_without_bound() -> None:
    rois, scores = torch.tensor([[10.0, 10, 60, 60]]), torch.tensor([[0.9, 0, 0, 0.1]])
    deltas = torch.tensor([0.0, 0, -30, -30]).expand(1, CLASSES, 4)
    for bound, side in ((True, 50 / 62.5), (False, 50 * math.exp(-6))):
        found = head_of(BoxHeadSpec(width=16, shrink_bound=bound)).select(rois, scores, deltas, FRAME)
        assert (found.boxes[0, 2] - found.boxes[0, 0]).item() == pytest.approx(side, rel=1e-3)
