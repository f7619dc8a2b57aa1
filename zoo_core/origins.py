"""The distributions that the parts of a detector come from, and whether they are here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zoo_core.errors import ZooError
from zoo_core.plugins import normal_name, plugins
from zoo_core.registry import find
from zoo_core.specs import ComponentSpec, slots


def origins(spec: ComponentSpec, kind: str = "assembly") -> dict[str, str]:
    """Return the distributions and versions that the parts of a spec come from."""
    try:
        plugin = find(kind, spec.type).plugin
    except ZooError:
        return {}
    found = {plugin.distribution: plugin.version}
    for name, slot in slots(type(spec)).items():
        part = getattr(spec, name)
        if part is not None:
            found |= origins(part, slot)
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Requirement:
    """A distribution that a model was saved with.

    Attributes:
        distribution: its name.
        version: of it, when the model was saved.
        installed: the version here; None where it is not.
        state: "ok", "missing", "other version", or what `Plugin.status` has of one that does not work: "broken", "disabled".
    """

    distribution: str
    version: str
    installed: str | None
    state: str


def requirements(needed: Mapping[str, str]) -> list[Requirement]:
    """Return of distributions (name to version) whether they are here."""
    here = {normal_name(plugin.distribution): plugin for plugin in plugins()}
    found = []
    for name, version in needed.items():
        plugin = here.get(normal_name(name))
        if plugin is None:
            found.append(Requirement(name, version, None, "missing"))
        else:
            state = plugin.status if plugin.status != "ok" or plugin.version == version else "other version"
            found.append(Requirement(name, version, plugin.version, state))
    return found


def pip_line(found: Iterable[Requirement]) -> str:
    """Return the one line that installs these; nothing for none."""
    wanted = " ".join(f"{need.distribution}=={need.version}" for need in found)
    return f"pip install {wanted}" if wanted else ""


def missing(needed: Mapping[str, str]) -> list[str]:
    """Return which distributions are not here, as pip takes them."""
    return [f"{need.distribution}=={need.version}" for need in requirements(needed) if need.state == "missing"]


def other_versions(needed: Mapping[str, str]) -> str:
    """Return which distributions are here in another version than is named, in words; nothing if none is."""
    others = [need for need in requirements(needed) if need.state == "other version"]
    return ", ".join(f"{need.distribution} {need.version} (here: {need.installed})" for need in others)
