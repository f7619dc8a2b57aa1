"""Discovery of plugins through the entry points of group ``zoo.plugins``.

Each plugin is loaded by itself: one that fails becomes a record with its error, and the rest works.
The variable ``ZOO_PLUGINS`` narrows what is loaded: ``none``, or a list of distributions such as ``zoo-fpn,zoo-timm``;
the core's own contributions are always loaded.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import pluggy

from zoo_core.contributions import Contribution, check

GROUP = "zoo.plugins"
CORE = "zoo-core"

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


class Hooks:
    """The hooks that a plugin may implement, as module-level functions marked with `hookimpl`."""

    @hookspec
    def zoo_contributions(self) -> Iterable[Contribution]:  # type: ignore[empty-body]
        """Yield the parts and recipes that the plugin offers. Import nothing heavy here."""

    @hookspec
    def zoo_commands(self) -> Iterable[tuple[str, str, str]]:  # type: ignore[empty-body]
        """Yield (name, summary, "package.module") for commands of ``zoo-cli``; the module has `arguments` and `run`."""


@dataclass(frozen=True)
class Plugin:
    """One entry point and what became of it. `error` and `trace` are empty unless loading failed."""

    name: str
    distribution: str
    version: str
    module: str
    contributions: tuple[Contribution, ...] = ()
    commands: tuple[tuple[str, str, str], ...] = ()
    error: str = ""
    trace: str = ""
    disabled: bool = False

    @property
    def status(self) -> str:
        """``"ok"``, ``"broken"`` or ``"disabled"``."""
        return "broken" if self.error else "disabled" if self.disabled else "ok"


@cache
def plugins() -> tuple[Plugin, ...]:
    """Return a record for every installed plugin, the core's first, then by distribution."""
    found = {(_distribution(point)[0], point.name): point for point in entry_points(group=GROUP)}
    ordered = sorted(found, key=lambda key: (key[0] != CORE, key))
    return tuple(_record(found[key]) for key in ordered)


def _distribution(point: EntryPoint) -> tuple[str, str]:
    """Return (name, version) of the distribution that declares an entry point."""
    if point.dist is None:
        return "unknown", ""
    return point.dist.name, point.dist.version


def _record(point: EntryPoint) -> Plugin:
    distribution, version = _distribution(point)
    plugin = Plugin(point.name, distribution, version, point.value)
    if not _enabled(distribution):
        return Plugin(point.name, distribution, version, point.value, disabled=True)
    try:
        return read(plugin, point.load())
    except Exception as error:  # a plugin is foreign code: whatever it raises is its own failure alone
        return Plugin(
            *(point.name, distribution, version, point.value),
            error=f"{type(error).__name__}: {error}",
            trace=traceback.format_exc(),
        )


def _enabled(distribution: str) -> bool:
    wanted = os.environ.get("ZOO_PLUGINS")
    if wanted is None or distribution == CORE:
        return True
    return distribution in {name.strip() for name in wanted.split(",")}


def read(plugin: Plugin, module: ModuleType) -> Plugin:
    """Return `plugin` with what `module` contributes. Raises whatever the module raises."""
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(Hooks)
    manager.register(module, plugin.name)
    return Plugin(
        *(plugin.name, plugin.distribution, plugin.version, plugin.module),
        contributions=tuple(check(item) for item in _items(manager.hook.zoo_contributions())),
        commands=tuple(_items(manager.hook.zoo_commands())),
    )


def _items(results: list[Iterable[Any]]) -> Iterator[Any]:
    for result in results:
        yield from result
