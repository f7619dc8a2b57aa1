"""Names to contributions, over all plugins.

A name that two distributions offer is an error where it is used; ``distribution/name`` always works.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from zoo_core.contributions import KINDS, Contribution, Family, Recipe, check, load_reference
from zoo_core.errors import AmbiguousNameError, BrokenPluginError, UnknownNameError, ZooError, nearest
from zoo_core.plugins import CORE, FOREIGN, Plugin, plugins

_extra: list[Plugin] = []
P = TypeVar("P")


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
        except FOREIGN as error:
            raise self.broken(f"cannot be imported from {reference}", error) from error

    def call(self, reference: str, *arguments: Any) -> Any:
        """Call what ``"module:attribute"`` names; a failure is the plugin's, unless it is one that the zoo raises."""
        function = self.load(reference)
        try:
            return function(*arguments)
        except ZooError:
            raise
        except FOREIGN as error:
            raise self.broken(f"fails in {reference}", error) from error

    def broken(self, what: str, error: BaseException | None = None) -> BrokenPluginError:
        """Return the error that says what is wrong with the contribution, and whose it is."""
        whose = f"{self.contribution.kind} '{self.contribution.name}' of {self.plugin.distribution} {self.plugin.version}"
        return BrokenPluginError(f"{whose} {what}" + (f": {type(error).__name__}: {error}" if error else ""))

    def spec(self) -> Any:
        """Return the class of the options (for a recipe: a complete spec)."""
        if isinstance(self.contribution, Recipe):
            return self.call(self.contribution.target)
        return self.load(self.contribution.spec)

    def training(self) -> dict[str, Any]:
        """Return the options of a training run that a recipe is published with; none for one that states none."""
        if not isinstance(self.contribution, Recipe) or not self.contribution.training:
            return {}
        options = self.call(self.contribution.training)
        if not isinstance(options, dict):
            raise self.broken(f"has for training options a {type(options).__name__}, not a dict")
        return options

    def target(self) -> Any:
        """Return the class (for a recipe: the function)."""
        return self.load(self.contribution.target)

    def make(self, base: type[P], *arguments: Any) -> P:
        """Return the part, made of `arguments`; it is the plugin's fault if it cannot be, or is no `base`."""
        target = self.target()
        try:
            part = target(*arguments)
        except ZooError:
            raise
        except FOREIGN as error:
            raise self.broken("cannot be built", error) from error
        if isinstance(part, base):
            return part
        raise self.broken(f"is a {type(part).__name__}, which is no {base.__name__}")


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
    """Return the names registered for a kind, sorted; those that only a family knows are left out."""
    found = (e.contribution for e in entries() if e.contribution.kind == kind)
    return sorted({contribution.name for contribution in found if not isinstance(contribution, Family)})


def fits(name: str, pattern: str) -> bool:
    """Say whether a name holds `pattern`, or fits it where it has wildcards (``*``, ``?``, ``[abc]``); case does not matter."""
    name, pattern = name.lower(), pattern.lower()
    return fnmatch.fnmatchcase(name, pattern) if any(sign in pattern for sign in "*?[") else pattern in name


def list_models(pattern: str = "") -> list[str]:
    """Return the names of the recipes that `zoo.create` takes, sorted.

    Args:
        pattern: a part of the name, such as "rcnn", or a pattern for all of it, such as ``"*r50*"``.
    """
    return [name for name in names("detector") if fits(name, pattern)]


def find(kind: str, name: str) -> Entry:
    """Return what is registered as `name`, or as ``distribution/name``.

    Raises `UnknownNameError` with the nearest name, `AmbiguousNameError`, or `ValueError` for a kind that does not exist.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    found = [e for e in _index().get((kind, name), []) if not isinstance(e.contribution, Family)]
    failures: list[str] = []
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    found = found or [entry for entry in _families(kind) if _offered(entry, name, failures)]
    if not found:
        raise UnknownNameError(_unknown(kind, shown, failures))
    if len(found) > 1:
        raise AmbiguousNameError(_ambiguous(kind, name, found))
    return found[0]


def _ambiguous(kind: str, name: str, found: list[Entry]) -> str:
    distributions = sorted({entry.plugin.distribution for entry in found})
    if len(distributions) == 1:
        return f"{kind} '{name}' is offered by {len(found)} plugins of {distributions[0]}; only its makers can mend that"
    own = name.rpartition("/")[2]
    choices = ", ".join(f"'{distribution}/{own}'" for distribution in distributions)
    return f"{kind} '{name}' is offered by {' and '.join(distributions)}; write one of {choices}"


def _families(kind: str) -> list[Entry]:
    return [e for e in entries() if e.contribution.kind == kind and isinstance(e.contribution, Family)]


def _offered(entry: Entry, name: str, failures: list[str]) -> bool:
    """Ask a family for a name; when it fails, the others are still asked."""
    family = entry.contribution
    own = name.removeprefix(f"{entry.plugin.distribution}/")
    try:
        return isinstance(family, Family) and "/" not in own and bool(entry.call(family.offers, own))
    except ZooError as error:
        failures.append(str(error))
        return False


def _unknown(kind: str, name: str, failures: list[str]) -> str:
    candidates = names(kind)
    for entry in _families(kind):
        if isinstance(entry.contribution, Family):
            with suppress(*FOREIGN):  # one that fails has already failed to tell whether it has the name
                candidates += [str(known) for known in entry.call(entry.contribution.names)]
    hint = nearest(name, candidates)
    notes = [f"plugin {p.distribution} is {p.status}{': ' + p.error if p.error else ''}" for p in plugins() if p.status != "ok"]
    if not hint:
        notes.insert(0, f"'zoo-cli list --kind {kind}' shows what is installed; the zoo's own parts: pip install '{CORE}[all]'")
    told = "".join(f" ({note})" for note in (*notes, *failures))
    return f"no {kind.replace('_', ' ')} named '{name}'{hint}{told}"


@contextmanager
def contributed(*contributions: Contribution, distribution: str = "local") -> Iterator[None]:
    """Register contributions for the length of a ``with`` block: for tests and for trying a part in a notebook."""
    plugin = Plugin("local", distribution, "0", "", contributions=tuple(check(item) for item in contributions))
    _extra.append(plugin)
    _index.cache_clear()
    try:
        yield
    finally:
        _extra.remove(plugin)
        _index.cache_clear()
