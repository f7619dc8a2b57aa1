"""Discovery of plugins through the entry points of group ``zoo.plugins``.

Each plugin is loaded by itself: one that fails becomes a record with its error, and the rest works.
The variable ``ZOO_PLUGINS`` narrows what is loaded: ``none``, or a list of distributions such as ``zoo-fpn,zoo-timm``;
the core's own contributions are always loaded, and an empty variable narrows nothing.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from types import ModuleType
from typing import Any

import pluggy

from zoo_core.contributions import Contribution, check

GROUP = "zoo.plugins"
CORE = "zoo-core"
FOREIGN = (Exception, SystemExit)
"""What foreign code may raise without harm to the rest. An interrupt from the keyboard is not the plugin's."""

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
    records: dict[str, list[Plugin]] = {}
    for distribution in _declaring():
        found = _records(distribution)
        if found:
            records.setdefault(normal_name(found[0].distribution), found)  # the first on the path hides an older copy
    return tuple(sorted((plugin for found in records.values() for plugin in found), key=_rank))


def _rank(plugin: Plugin) -> tuple[bool, str, str]:
    return plugin.distribution != CORE, plugin.distribution, plugin.name


def _declaring() -> Iterator[Distribution]:
    """Yield the distributions that have something to do with the zoo; the metadata of the others is not looked at."""
    for distribution in distributions():
        try:
            text = distribution.read_text("entry_points.txt")
        except Exception:  # another's damaged file
            continue
        if text and f"[{GROUP}]" in text:
            yield distribution


def _records(distribution: Distribution) -> list[Plugin]:
    folder = str(getattr(distribution, "_path", "unknown")).replace("\\", "/").rpartition("/")[2]
    name, version = folder.partition("-")[0], ""
    try:
        name, version = distribution.metadata["Name"] or name, distribution.version or ""
        points = list(dict.fromkeys(distribution.entry_points.select(group=GROUP)))
    except Exception as error:  # one damaged installation is no reason to see none
        return [_broken(Plugin("", name, version, folder), error)]
    return [_record(point, name, version) for point in points]


def _record(point: EntryPoint, distribution: str, version: str) -> Plugin:
    plugin = Plugin(point.name, distribution, version, point.value)
    if not _enabled(distribution):
        return replace(plugin, disabled=True)
    try:
        with redirect_stdout(sys.stderr):  # what a plugin prints is no part of our output, which may be JSON
            return read(plugin, point.load())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise a class of its own that is no Exception
        return _broken(plugin, error)


def _broken(plugin: Plugin, error: BaseException) -> Plugin:
    return replace(plugin, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())


def _enabled(distribution: str) -> bool:
    wanted = os.environ.get("ZOO_PLUGINS", "").strip()
    return not wanted or distribution == CORE or normal_name(distribution) in {normal_name(name) for name in wanted.split(",")}


def normal_name(distribution: str) -> str:
    """Return the name by which pip knows a distribution."""
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


def read(plugin: Plugin, module: ModuleType) -> Plugin:
    """Return `plugin` with what `module` contributes. Raises whatever the module raises, and for what it should not yield."""
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(Hooks)
    manager.register(module, plugin.name)
    manager.check_pending()  # a hook that does not exist is a hook misspelled
    contributions = tuple(check(item) for item in _items(manager.hook.zoo_contributions()))
    commands = tuple(_checked_command(item) for item in _items(manager.hook.zoo_commands()))
    taken: set[tuple[str, str]] = set()
    for kind, name in [(c.kind, c.name) for c in contributions] + [("command", command[0]) for command in commands]:
        if (kind, name) in taken:
            raise ValueError(f"{kind} {name!r} is offered twice")
        taken.add((kind, name))
    return replace(plugin, contributions=contributions, commands=commands)


def _checked_command(item: object) -> tuple[str, str, str]:
    if not (isinstance(item, tuple) and len(item) == 3 and all(isinstance(part, str) and part for part in item)):
        raise TypeError(f"zoo_commands() yielded {item!r}; expected a tuple (name, summary, 'package.module')")
    return item


def _items(results: list[Iterable[Any]]) -> Iterator[Any]:
    for result in results:
        yield from result
