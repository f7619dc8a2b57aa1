"""What a plugin offers, as plain strings: listing imports nothing that is heavy.

A reference is ``"package.module:attribute"``; it is imported only when the part is used.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, fields
from typing import Any

KINDS = (
    "detector",
    "assembly",
    "preprocess",
    "backbone",
    "neck",
    "dense_head",
    "roi_head",
    "assigner",
    "sampler",
    "data_format",
    "importer",
)
"""The kinds of parts, in the order in which an image meets them."""


@dataclass(frozen=True)
class Component:
    """A part: the class `target`, which is built from options of the pydantic class `spec`."""

    kind: str
    name: str
    spec: str
    target: str
    summary: str = ""


@dataclass(frozen=True)
class Family:
    """Parts under names that only their library knows, all built alike.

    `offers` names a function ``(name) -> bool``, `names` one ``() -> list[str]``. They are asked only
    when a name was found nowhere else, so they may import what they need.
    """

    kind: str
    name: str
    spec: str
    target: str
    offers: str
    names: str
    summary: str = ""


@dataclass(frozen=True)
class Recipe:
    """A complete configuration under a name: `target` is a function without arguments that returns a spec.

    `training` may name another such function: it returns, as a dict, the options of a training run that the detector is
    published with.
    """

    kind: str
    name: str
    target: str
    summary: str = ""
    training: str = ""


Contribution = Component | Family | Recipe
REFERENCES = ("spec", "target", "offers", "names", "training")


def load_reference(reference: str) -> Any:
    """Import ``"package.module:attribute"`` and return the attribute."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def check(contribution: object) -> Contribution:
    """Return `contribution` if it is well formed; raise `TypeError` or `ValueError` saying what is not."""
    if not isinstance(contribution, Component | Family | Recipe):
        raise TypeError(f"zoo_contributions() yielded {contribution!r}; expected a Component, Family or Recipe")
    values = {field.name: getattr(contribution, field.name) for field in fields(contribution)}
    for field, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"{contribution.name!r}: {field}={value!r} must be a string")
    if contribution.kind not in KINDS:
        raise ValueError(f"{contribution.name!r} has kind {contribution.kind!r}; the kinds are {', '.join(KINDS)}")
    if isinstance(contribution, Recipe) != (contribution.kind == "detector"):
        raise ValueError(f"{contribution.name!r}: a Recipe is of kind 'detector', and nothing else is")
    if not contribution.name.strip() or "/" in contribution.name:
        raise ValueError(f"{contribution.name!r} is no name for a {contribution.kind}: it is empty or holds a '/'")
    for field in filter(values.__contains__, REFERENCES):
        if field == "training" and not values[field]:
            continue
        module, _, attribute = values[field].partition(":")
        if not module or not attribute.isidentifier():
            raise ValueError(f"{contribution.name!r}: {field}={values[field]!r} is not of the form 'package.module:attribute'")
    return contribution
