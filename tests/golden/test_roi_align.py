from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.golden.record import Record, close, equal
from zoo_core.ops.roi_align import pyramid_roi_align, roi_levels

pytestmark = pytest.mark.shared
STRIDES = (4, 8, 16, 32)


@pytest.fixture
def regions(record: Callable[[str], Record]) -> Record:
    return record("roi_extractor")


def test_levels(regions: Record) -> None:
    equal(roi_levels(regions["rois"][:, 1:], len(STRIDES)), regions["levels"])


@pytest.mark.parametrize("case", ["default", "ratio2", "legacy", "size14"])
def test_pooled(regions: Record, case: str) -> None:
    features = dict(zip(STRIDES, regions.levels("feats"), strict=True))
    options = regions.settings["variants"][case]
    rois = regions["rois"][:16] if case == "size14" else regions["rois"]
    found = pyramid_roi_align(
        features, rois, options["output_size"], sampling=options["sampling_ratio"], aligned=options.get("aligned", True)
    )
    close(found, regions[f"{case}.out"])


def test_gradient(regions: Record) -> None:
    features = {s: f.requires_grad_() for s, f in zip(STRIDES, regions.levels("feats"), strict=True)}
    pyramid_roi_align(features, regions["rois"], 7).backward(regions["grad_out"])  # type: ignore[no-untyped-call]
    for feature, wanted in zip(features.values(), regions.levels("default.grad_feats"), strict=True):
        assert feature.grad is not None
        close(feature.grad, wanted)
