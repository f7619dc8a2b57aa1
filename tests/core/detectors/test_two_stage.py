"""The shape of a two-stage detector."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo_core.create import create
from zoo_core.detectors.two_stage import TwoStage, as_objects, named
from zoo_core.types import ANY_LABEL, Targets

pytestmark = pytest.mark.usefixtures("stubs")
BOXES = torch.tensor([[5.0, 5, 30, 30], [20, 10, 50, 38]])
TARGETS = [Targets(BOXES, torch.tensor([2, 1]), BOXES[:1], torch.tensor([2])), Targets()]


def images() -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, (3, 40, 60), generator=random, dtype=torch.uint8) for _ in range(2)]


def made(**overrides: Any) -> TwoStage:
    torch.manual_seed(0)
    detector = create("plain_two_stage", **overrides)
    assert isinstance(detector, TwoStage)
    return detector


def test_the_losses_are_those_of_both_stages_by_name() -> None:
    detector = made()
    found = detector(images(), TARGETS)
    assert list(found) == ["proposer.classes", "proposer.boxes", "roi_head.classes", "roi_head.boxes"]
    batch = detector.preprocess(images(), TARGETS)
    features = detector.features(batch)
    proposals = detector.proposer.decode(detector.proposer(features), batch)
    for name, value in detector.roi_head.losses(features, proposals, batch).items():
        assert torch.equal(found[f"roi_head.{name}"], value)


def test_the_detections_are_the_second_stages() -> None:
    detector = made()
    batch = detector.preprocess(images())
    with torch.no_grad():
        features = detector.features(batch)
        proposals = detector.proposer.decode(detector.proposer(features), batch)
        expected = detector.roi_head.detect(features, proposals, batch)
        found = detector.detect(batch)
    assert all(torch.equal(a.boxes, b.boxes) for a, b in zip(found, expected, strict=True))


def test_a_proposer_sees_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, seen = made(), []
    losses = detector.proposer.losses
    monkeypatch.setattr(detector.proposer, "losses", lambda raw, batch: seen.append(batch) or losses(raw, batch))
    detector(images(), TARGETS)
    (batch,) = seen
    assert [targets.labels.tolist() for targets in batch.targets] == [[0, 0], []]
    assert [targets.ignored_labels.tolist() for targets in batch.targets] == [[ANY_LABEL], []]


def test_targets_as_objects_keep_their_boxes() -> None:
    batch = made().preprocess(images(), TARGETS)
    objects = as_objects(batch)
    assert objects.targets is not None
    assert batch.targets is not None
    for after, before in zip(objects.targets, batch.targets, strict=True):
        assert torch.equal(after.boxes, before.boxes)
        assert torch.equal(after.ignored, before.ignored)
    assert batch.targets[0].labels.tolist() == [2, 1], "the second stage needs the labels"
    assert objects.tensor is batch.tensor


def test_no_gradient_goes_through_the_proposals() -> None:
    detector = made()
    losses = detector(images(), TARGETS)
    (losses["roi_head.classes"] + losses["roi_head.boxes"]).backward()
    assert all(parameter.grad is None for parameter in detector.proposer.parameters())
    assert all(parameter.grad is not None for parameter in detector.backbone.parameters())


@pytest.mark.parametrize("targets", [TARGETS, [Targets(), Targets()]])
def test_no_proposal_at_all(targets: list[Targets]) -> None:
    detector = made(proposer={"least_score": 1.0})
    assert [len(found) for found in detector(images())] == [0, 0]
    losses = detector(images(), targets)
    assert all(value.isfinite() for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]


def test_named() -> None:
    one = torch.ones(())
    assert named("head", {"a": one, "b.c": one}) == {"head.a": one, "head.b.c": one}
