"""The nouns that travel between parts."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch

from zoo_core.errors import InputError
from zoo_core.types import ANY_LABEL, Assignment, Detections, ImageBatch, Targets

BOXES = torch.tensor([[0.0, 0, 4, 2], [1, 1, 3, 9]])
LABELS = torch.tensor([1, 0])


def test_nothing_is_an_ordinary_case() -> None:
    for empty in (Targets(), Detections()):
        assert len(empty) == 0
        assert empty.boxes.shape == (0, 4)
        assert empty.labels.dtype == torch.int64
    assert Targets().ignored.shape == (0, 4)
    assert len(Detections().above(0.5)) == 0


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"boxes": BOXES[0]}, "boxes must be floats of shape (N, 4), not torch.float32 of (4,)"),
        ({"boxes": BOXES[:, :3]}, "boxes must be floats of shape (N, 4), not torch.float32 of (2, 3)"),
        ({"boxes": BOXES.long(), "labels": LABELS}, "boxes must be floats of shape (N, 4), not torch.int64 of (2, 4)"),
        ({"boxes": BOXES}, "labels must be int64 of shape (2,), not torch.int64 of (0,)"),
        ({"boxes": BOXES, "labels": LABELS.int()}, "labels must be int64 of shape (2,), not torch.int32 of (2,)"),
        ({"boxes": BOXES, "labels": LABELS[:, None]}, "labels must be int64 of shape (2,), not torch.int64 of (2, 1)"),
        ({"boxes": BOXES.tolist(), "labels": LABELS}, "boxes must be a tensor of floats (N, 4), not a list"),
        ({"boxes": BOXES, "labels": [0, 1]}, "labels must be a tensor of int64 (2,), not a list"),
        ({"boxes": BOXES.numpy(), "labels": LABELS}, "boxes must be a tensor of floats (N, 4), not a ndarray"),
        ({"boxes": None}, "boxes must be a tensor of floats (N, 4), not a NoneType"),
        ({"ignored": BOXES}, "ignored_labels must be int64 of shape (2,), not torch.int64 of (0,)"),
        ({"ignored": np.zeros((1, 4))}, "ignored must be a tensor of floats (N, 4), not a ndarray"),
    ],
)
def test_targets_that_do_not_fit(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as error:
        Targets(**fields)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        (torch.zeros(1), "scores must be float of shape (2,), not torch.float32 of (1,)"),
        (torch.zeros(2, dtype=torch.int64), "scores must be float of shape (2,), not torch.int64 of (2,)"),
        ([0.5, 0.5], "scores must be a tensor of float (2,), not a list"),
    ],
)
def test_detections_that_do_not_fit(scores: Any, text: str) -> None:
    with pytest.raises(InputError) as error:
        Detections(BOXES, scores, LABELS)
    assert str(error.value) == text


def test_half_precision_is_float() -> None:
    assert Detections(BOXES.half(), torch.zeros(2, dtype=torch.bfloat16), LABELS).boxes.dtype == torch.float16


def test_targets_are_mapped_with_their_ignored_regions() -> None:
    targets = Targets(BOXES, LABELS, BOXES[:1], torch.tensor([ANY_LABEL]))
    twice = targets.map_boxes(lambda boxes: boxes * 2)
    assert torch.equal(twice.boxes, BOXES * 2)
    assert torch.equal(twice.ignored, BOXES[:1] * 2)
    assert torch.equal(twice.labels, LABELS)
    assert torch.equal(twice.ignored_labels, targets.ignored_labels)
    assert torch.equal(targets.boxes, BOXES), "the original stays"


def test_detections_are_chosen_by_index_and_by_score() -> None:
    found = Detections(BOXES, torch.tensor([0.9, 0.5]), LABELS)
    assert torch.equal(found[torch.tensor([1])].boxes, BOXES[1:])
    assert torch.equal(found[:1].labels, LABELS[:1])
    assert found.above(0.5).scores.tolist() == [pytest.approx(0.9)], "greater, not as great"
    assert len(found.above(1.0)) == 0
    assert len(found.above(0.0)) == 2


def test_detections_are_taken_and_gone_through_one_by_one() -> None:
    found = Detections(BOXES, torch.tensor([0.9, 0.5]), LABELS)
    assert [(len(one), one.labels.tolist()) for one in found] == [(1, [1]), (1, [0])]
    for index in (1, -1, np.int64(1)):
        assert torch.equal(found[index].boxes, BOXES[1:])
    for index in (2, -3):
        with pytest.raises(IndexError):
            found[index]
    assert list(Detections()) == []


def test_the_nouns_are_moved_whole() -> None:
    targets = Targets(BOXES, LABELS, BOXES, LABELS).to("meta")
    assert {value.device.type for value in (targets.boxes, targets.labels, targets.ignored, targets.ignored_labels)} == {"meta"}
    found = Detections(BOXES, torch.zeros(2), LABELS).to("meta")
    assert {value.device.type for value in (found.boxes, found.scores, found.labels)} == {"meta"}
    batch = ImageBatch(torch.zeros(1, 3, 4, 4), ((4, 4),), ((4, 4),), ((8, 8),), (Targets(BOXES, LABELS),), ("a",)).to("meta")
    assert batch.tensor.device.type == "meta"
    assert batch.targets is not None
    assert batch.targets[0].boxes.device.type == "meta"
    assert (batch.sizes, batch.original, batch.names) == (((4, 4),), ((8, 8),), ("a",))


def test_the_nouns_are_frozen_and_can_be_sent() -> None:
    targets = Targets(BOXES, LABELS)
    with pytest.raises(FrozenInstanceError):
        targets.boxes = BOXES  # type: ignore[misc]
    assert torch.equal(pickle.loads(pickle.dumps(targets)).boxes, BOXES)


@pytest.mark.parametrize("field", ["sizes", "padded", "original", "targets"])
def test_a_batch_has_as_many_of_everything(field: str) -> None:
    fields: dict[str, Any] = dict.fromkeys(("sizes", "padded", "original"), ((4, 4), (4, 4)))
    fields["targets"] = (Targets(), Targets())
    ImageBatch(torch.zeros(2, 3, 4, 4), **fields)
    fields[field] = fields[field][:1]
    with pytest.raises(InputError, match=f"^a batch of 2 images with 1 {field}$"):
        ImageBatch(torch.zeros(2, 3, 4, 4), **fields)


def assignment(priors: list[int], targets: list[int], ignored: list[bool]) -> Assignment:
    return Assignment(
        torch.tensor(priors, dtype=torch.int64),
        torch.tensor(targets, dtype=torch.int64),
        torch.tensor(ignored, dtype=torch.bool),
    )


def test_background_is_what_is_neither_paired_nor_ignored() -> None:
    found = assignment([3, 1, 3], [0, 1, 1], [True, False, False, False, False])
    assert found.background().tolist() == [2, 4]
    assert found.ignored.tolist() == [True, False, False, False, False], "asking changes nothing"
    assert assignment([], [], []).background().tolist() == []
    assert assignment([], [], [True, True]).background().tolist() == []


def test_shifted_puts_an_assignment_among_more_priors() -> None:
    shifted = assignment([1, 0], [5, 6], [False, False, True]).shifted(torch.tensor([4, 0, 2]), 6)
    assert shifted.priors.tolist() == [0, 4]
    assert shifted.targets.tolist() == [5, 6]
    assert shifted.ignored.tolist() == [False, True, True, True, False, True]
    assert shifted.background().tolist() == []
    assert assignment([], [], [False]).shifted(torch.tensor([2]), 3).background().tolist() == [2]


def test_targets_first_puts_each_target_before_the_priors() -> None:
    found = assignment([0], [1], [False, True]).with_targets_first(2)
    assert found.priors.tolist() == [0, 1, 2]
    assert found.targets.tolist() == [0, 1, 1]
    assert found.ignored.tolist() == [False, False, False, True]
    same = assignment([0], [1], [False, True]).with_targets_first(0)
    assert (same.priors.tolist(), same.ignored.tolist()) == ([0], [False, True])


@pytest.mark.parametrize(
    ("priors", "targets", "ignored", "text"),
    [
        (
            LABELS.float(),
            LABELS,
            torch.zeros(3, dtype=torch.bool),
            "priors must be int64 of shape (2,), not torch.float32 of (2,)",
        ),
        (LABELS, LABELS[:1], torch.zeros(3, dtype=torch.bool), "targets must be int64 of shape (2,), not torch.int64 of (1,)"),
        (LABELS, LABELS, torch.zeros(3), "ignored must be bool of shape (A,), not torch.float32 of (3,)"),
        (LABELS, LABELS, torch.zeros(3, 1, dtype=torch.bool), "ignored must be bool of shape (A,), not torch.bool of (3, 1)"),
    ],
)
def test_an_assignment_that_does_not_fit(priors: Any, targets: Any, ignored: Any, text: str) -> None:
    with pytest.raises(InputError) as error:
        Assignment(priors, targets, ignored)
    assert str(error.value) == text
