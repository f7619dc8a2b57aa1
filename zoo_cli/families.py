"""The names that only families know: asked for when no registered name will do, for it may import a whole library."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from zoo_core.contributions import Family
from zoo_core.errors import ZooError
from zoo_core.registry import Entry


def members(found: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
    """Yield (family, name) for every name of the families in `found`; one that fails is told on standard error."""
    for entry in found:
        for name in _names(entry):
            yield entry, name


def _names(entry: Entry) -> list[str]:
    try:
        return list(entry.call(entry.contribution.names)) if isinstance(entry.contribution, Family) else []
    except ZooError as error:
        print(f"zoo-cli: {error}", file=sys.stderr)
        return []
