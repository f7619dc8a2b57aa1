"""What zoo-fpn offers."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_core.contributions import Component, Contribution
from zoo_core.plugins import hookimpl


@hookimpl
def zoo_contributions() -> Iterator[Contribution]:
    """Yield the feature pyramid network."""
    yield Component(
        "neck", "fpn", "zoo_fpn.specs:FPNSpec", "zoo_fpn.fpn:FPN", summary="feature pyramid network (Lin et al., 2017)"
    )
