"""What zoo-sum-neck offers: strings alone, so that listing imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_core.contributions import Component, Contribution
from zoo_core.plugins import hookimpl


@hookimpl
def zoo_contributions() -> Iterator[Contribution]:
    """Yield the neck."""
    yield Component(
        kind="neck",
        name="weighted_sum",
        spec="zoo_sum_neck.specs:WeightedSumSpec",
        target="zoo_sum_neck.weighted_sum:WeightedSum",
        summary="pyramid whose maps are added with learned weights",
    )
