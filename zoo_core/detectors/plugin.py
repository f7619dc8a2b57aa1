"""The core's own contributions: the two shapes of detectors, and preprocessing. They name no backbone, head or loss."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_core.contributions import Component, Contribution
from zoo_core.plugins import hookimpl


@hookimpl
def zoo_contributions() -> Iterator[Contribution]:
    """Yield the shapes of detectors, and the preprocessing."""
    specs = "zoo_core.detectors.specs"
    yield Component(
        *("assembly", "one_stage", f"{specs}:OneStageSpec", "zoo_core.detectors.one_stage:OneStage"),
        summary="backbone, neck, dense head",
    )
    yield Component(
        *("assembly", "two_stage", f"{specs}:TwoStageSpec", "zoo_core.detectors.two_stage:TwoStage"),
        summary="backbone, neck, proposer, RoI head",
    )
    yield Component(
        *("preprocess", "keep_ratio", f"{specs}:KeepRatioSpec", "zoo_core.detectors.preprocess:KeepRatio"),
        summary="resize with the aspect ratio kept, normalise, pad",
    )
    yield Component(
        *("preprocess", "stretch", f"{specs}:StretchSpec", "zoo_core.detectors.preprocess:Stretch"),
        summary="resize to one size, normalise",
    )
