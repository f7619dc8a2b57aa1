"""The distributions that the parts of a detector come from, and whether they are here."""

from __future__ import annotations

from collections.abc import Mapping

from zoo_core.errors import ZooError
from zoo_core.plugins import plugins
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


def missing(needed: Mapping[str, str]) -> list[str]:
    """Return which distributions are not here, as pip takes them."""
    here = _installed()
    return [f"{name}=={version}" for name, version in needed.items() if name not in here]


def other_versions(needed: Mapping[str, str]) -> str:
    """Return which distributions are here in another version than is named, in words; nothing if none is."""
    here = _installed()
    others = {name: version for name, version in needed.items() if here.get(name, version) != version}
    return ", ".join(f"{name} {version} (here: {here[name]})" for name, version in others.items())


def _installed() -> dict[str, str]:
    return {plugin.distribution: plugin.version for plugin in plugins() if plugin.status == "ok"}
