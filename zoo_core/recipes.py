"""A name and overrides to a complete, checked spec.

The rule of overrides, in full: a keyword must be an option; a string or a spec *replaces* what is in a slot; a dict of the
same (or no) ``type`` *merges* into it, one of another ``type`` replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from zoo_core.errors import InputError, SpecError
from zoo_core.registry import find
from zoo_core.specs import ComponentSpec, Slot, validate

C = TypeVar("C", bound=ComponentSpec)
ASSEMBLY = Slot("assembly")


def resolve(recipe: str | ComponentSpec, overrides: Mapping[str, Any] | None = None) -> ComponentSpec:
    """Return the spec of a recipe, or the one given, with `overrides`.

    Raises:
        UnknownNameError: no recipe of that name.
        SpecError: overrides that do not fit, all of them.
    """
    if not isinstance(recipe, str | ComponentSpec):
        raise InputError(f"expected the name of a recipe or a spec, got a {type(recipe).__name__}")
    spec = override(_authored(recipe) if isinstance(recipe, str) else recipe, overrides or {})
    try:
        return ASSEMBLY.resolve(spec)
    except SpecError as error:
        raise SpecError([("type", text) for _, text in error.problems]) from None


def _authored(name: str) -> ComponentSpec:
    entry = find("detector", name)
    spec = entry.spec()
    if isinstance(spec, ComponentSpec):
        return spec
    raise entry.broken(f"returns a {type(spec).__name__} instead of a spec")


def override(spec: C, overrides: Mapping[str, Any]) -> C:
    """Return `spec` with `overrides` merged in, and checked as a whole."""
    if not overrides:
        return spec
    return validate(type(spec), merge(spec.model_dump(mode="json"), overrides))


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options `base` with `overrides` merged in by the rule above."""
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        merges = (
            isinstance(value, Mapping) and isinstance(old, Mapping) and value.get("type", old.get("type")) == old.get("type")
        )
        merged[key] = merge(old, value) if merges else value  # type: ignore[arg-type]
    return merged


def describe(recipe: str | ComponentSpec, **overrides: Any) -> dict[str, Any]:
    """Return the complete spec of a recipe as plain data, with overrides; no tensor is made.

    Raises what `zoo.create` raises for the same arguments.
    """
    return resolve(recipe, overrides).model_dump(mode="json")
