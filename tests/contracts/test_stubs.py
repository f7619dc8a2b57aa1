"""The core's own parts, and the small ones of its tests, keep their promises; no plugin is needed."""

from __future__ import annotations

import pytest

from tests.core.stubs import EvenSpec
from zoo_core.testing import (
    check_assigner,
    check_backbone,
    check_dense_head,
    check_detector,
    check_neck,
    check_plugin,
    check_preprocess,
    check_roi_head,
    check_sampler,
)

pytestmark = pytest.mark.usefixtures("stubs")
CHANNELS = {8: 4, 16: 4}


@pytest.mark.parametrize("frozen", [False, True])
def test_backbone(frozen: bool) -> None:
    check_backbone("blocks", frozen=frozen)


@pytest.mark.parametrize("part", ["even", {"type": "even", "width": 3}, EvenSpec(width=5)], ids=["name", "dict", "spec"])
def test_neck(part: object) -> None:
    check_neck(part, CHANNELS)  # type: ignore[arg-type]


def test_dense_head() -> None:
    check_dense_head("plain_head", CHANNELS)


def test_roi_head() -> None:
    check_roi_head("pool_head", CHANNELS)


def test_assigner() -> None:
    check_assigner("overlap", positive=0.3, negative=0.1)


def test_sampler() -> None:
    check_sampler("first", count=16)


@pytest.mark.parametrize(
    "options", [{"long_side": 160, "short_side": 96}, {"long_side": 61, "short_side": 33, "pad_multiple": 1}, {}]
)
def test_preprocess(options: dict[str, int]) -> None:
    check_preprocess("keep_ratio", **options)


@pytest.mark.parametrize("antialias", [False, True])
def test_stretch(antialias: bool) -> None:
    check_preprocess("stretch", height=64, width=96, antialias=antialias)


@pytest.mark.parametrize("recipe", ["plain_one_stage", "plain_two_stage"])
def test_detector(recipe: str) -> None:
    check_detector(recipe)


def test_detector_with_a_frozen_part_and_no_neck() -> None:
    check_detector("plain_one_stage", num_classes=(2,), backbone={"frozen": True}, neck=None)


def test_plugin() -> None:
    check_plugin("zoo-core")
