"""Names to contributions, over all plugins.

A name that two distributions offer is an error where it is used; ``distribution/name`` always works.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from zoo_core.contributions import KINDS, Contribution, Family, Recipe, load_reference
from zoo_core.errors import AmbiguousNameError, BrokenPluginError, UnknownNameError, nearest
from zoo_core.plugins import Plugin, plugins

_extra: list[Plugin] = []


@dataclass(frozen=True)
class Entry:
    """A contribution and the plugin that it comes from."""

    contribution: Contribution
    plugin: Plugin

    @property
    def qualified(self) -> str:
        """``distribution/name``, which is never ambiguous."""
        return f"{self.plugin.distribution}/{self.contribution.name}"

    def load(self, reference: str) -> Any:
        """Import what ``"module:attribute"`` names; a failure is the plugin's, and is said to be."""
        try:
            return load_reference(reference)
        except Exception as error:  # foreign code
            raise BrokenPluginError(
                f"{self.contribution.kind} '{self.contribution.name}' of {self.plugin.distribution} "
                f"{self.plugin.version} cannot be imported from {reference}: {type(error).__name__}: {error}"
            ) from error

    def spec(self) -> Any:
        """Return the class of the options (for a recipe: a complete spec)."""
        if isinstance(self.contribution, Recipe):
            return self.load(self.contribution.target)()
        return self.load(self.contribution.spec)

    def target(self) -> Any:
        """Return the class (for a recipe: the function)."""
        return self.load(self.contribution.target)


@cache
def _index() -> dict[tuple[str, str], list[Entry]]:
    index: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries():
        for name in (entry.contribution.name, entry.qualified):
            index.setdefault((entry.contribution.kind, name), []).append(entry)
    return index


def entries() -> Iterator[Entry]:
    """Yield everything that is registered, in the order of the plugins."""
    for plugin in (*plugins(), *_extra):
        for contribution in plugin.contributions:
            yield Entry(contribution, plugin)


def names(kind: str) -> list[str]:
    """Return the names registered for a kind, sorted; families by the names that they list themselves are left out."""
    return sorted({e.contribution.name for e in entries() if e.contribution.kind == kind})


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the recipes that `zoo.create` takes, sorted; `pattern` may hold shell wildcards."""
    return fnmatch.filter(names("detector"), pattern)


def find(kind: str, name: str) -> Entry:
    """Return what is registered as `name`, or as ``distribution/name``.

    Raises `UnknownNameError` with the nearest name, `AmbiguousNameError`, or `ValueError` for a kind that does not exist.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    found = [e for e in _index().get((kind, name), []) if not isinstance(e.contribution, Family)]
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousNameError(
            f"{kind} '{name}' is offered by {' and '.join(sorted(e.plugin.distribution for e in found))}; "
            f"write one of {', '.join(repr(e.qualified) for e in found)}"
        )
    families = [e for e in entries() if e.contribution.kind == kind and isinstance(e.contribution, Family)]
    for entry in families:
        if _offered(entry, name):
            return entry
    raise UnknownNameError(_unknown(kind, name, families))


def _offered(entry: Entry, name: str) -> bool:
    family = entry.contribution
    prefix = f"{entry.plugin.distribution}/"
    return isinstance(family, Family) and bool(entry.load(family.offers)(name.removeprefix(prefix)))


def _unknown(kind: str, name: str, families: list[Entry]) -> str:
    candidates = names(kind)
    for entry in families:
        if isinstance(entry.contribution, Family):
            candidates += entry.load(entry.contribution.names)()
    hint = nearest(name, candidates)
    text = f"no {kind.replace('_', ' ')} named '{name}'{hint}"
    if not hint:
        text += f" ('zoo-cli list --kind {kind}' shows all; a part of another package is there once that is installed)"
    broken = [p for p in plugins() if p.status != "ok"]
    if broken:
        text += "".join(f"; plugin {p.distribution} is {p.status}{': ' + p.error if p.error else ''}" for p in broken)
    return text


@contextmanager
def contributed(*contributions: Contribution, distribution: str = "local") -> Iterator[None]:
    """Register contributions for the length of a ``with`` block: for tests and for trying a part in a notebook."""
    plugin = Plugin("local", distribution, "0", "", contributions=contributions)
    _extra.append(plugin)
    _index.cache_clear()
    try:
        yield
    finally:
        _extra.remove(plugin)
        _index.cache_clear()
