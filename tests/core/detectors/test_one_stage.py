"""The shape of a one-stage detector."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo_core.create import create
from zoo_core.detectors.one_stage import OneStage
from zoo_core.ops.iou import iou
from zoo_core.types import Targets

pytestmark = pytest.mark.usefixtures("stubs")


def made(**overrides: Any) -> OneStage:
    torch.manual_seed(0)
    detector = create("plain_one_stage", **overrides)
    assert isinstance(detector, OneStage)
    return detector


def scene() -> tuple[list[Tensor], list[Targets]]:
    """Return a dark image with two bright squares, one of each of two classes, and an empty image."""
    image = torch.zeros(3, 96, 96, dtype=torch.uint8)
    image[0, 16:32, 16:32], image[1, 48:64, 56:72] = 255, 255
    boxes = torch.tensor([[16.0, 16, 32, 32], [56, 48, 72, 64]])
    return [image, torch.zeros(3, 96, 96, dtype=torch.uint8)], [Targets(boxes, torch.tensor([0, 2])), Targets()]


def test_the_losses_are_the_heads() -> None:
    images, targets = scene()
    detector = made()
    batch = detector.preprocess(images, targets)
    raw = detector.head(detector.features(batch))
    expected = detector.head.losses(raw, batch)
    found = detector(images, targets)
    assert found.keys() == expected.keys() == {"classes", "boxes"}
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_detections_are_the_heads() -> None:
    images, _ = scene()
    detector = made()
    batch = detector.preprocess(images)
    expected = detector.head.decode(detector.head(detector.features(batch)), batch)
    for found, wanted in zip(detector.detect(batch), expected, strict=True):
        assert torch.equal(found.boxes, wanted.boxes)


def test_features_pass_through_the_neck() -> None:
    batch = made().preprocess(scene()[0])
    assert {stride: map_.shape[1] for stride, map_ in made(neck={"width": 5}).features(batch).items()} == {8: 5, 16: 5}
    assert {stride: map_.shape[1] for stride, map_ in made(neck=None).features(batch).items()} == {8: 4, 16: 8}


def test_it_learns_a_scene() -> None:
    images, targets = scene()
    detector = made(
        backbone={"width": 16},
        preprocess={"long_side": 96, "short_side": 96},
        head={"assigner": {"positive": 0.3, "negative": 0.2}, "sampler": {"count": 1000}},
    )
    optimiser = torch.optim.Adam(detector.parameters(), lr=0.05)
    for _ in range(120):
        loss = torch.stack(list(detector(images, targets).values())).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    squares, nothing = detector.predict(images, score=0.5)
    assert len(nothing) == 0
    assert set(squares.labels.tolist()) == {0, 2}
    for box, label in zip(targets[0].boxes, targets[0].labels, strict=True):
        assert iou(squares.boxes[squares.labels == label], box[None]).max() > 0.3
