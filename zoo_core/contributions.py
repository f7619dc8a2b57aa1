"""What a plugin offers, as plain strings: listing imports nothing that is heavy.

A reference is ``"package.module:attribute"``; it is imported only when the part is used.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
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
    published with. `weights` may give tags to published weights: ``{"coco": "org/name@revision"}``.
    """

    kind: str
    name: str
    target: str
    summary: str = ""
    training: str = ""
    weights: Mapping[str, str] = field(default_factory=dict, hash=False)


Contribution = Component | Family | Recipe
NAME_ON_HUB = re.compile(r"(\w[\w.-]*/\w[\w.-]*?)(?:@([^@]+))?", re.ASCII)
"""``org/name`` or ``org/name@revision``."""
REFERENCES = ("spec", "target", "offers", "names", "training")


def load_reference(reference: str) -> Any:
    """Import ``"package.module:attribute"`` and return the attribute."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def check(contribution: object) -> Contribution:
    """Return `contribution` if it is well formed; raise `TypeError` or `ValueError` saying what is not."""
    if not isinstance(contribution, Component | Family | Recipe):
        raise TypeError(f"zoo_contributions() yielded {contribution!r}; expected a Component, Family or Recipe")
    values = {entry.name: getattr(contribution, entry.name) for entry in fields(contribution) if entry.name != "weights"}
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"{contribution.name!r}: {name}={value!r} must be a string")
    if contribution.kind not in KINDS:
        raise ValueError(f"{contribution.name!r} has kind {contribution.kind!r}; the kinds are {', '.join(KINDS)}")
    if isinstance(contribution, Recipe) != (contribution.kind == "detector"):
        raise ValueError(f"{contribution.name!r}: a Recipe is of kind 'detector', and nothing else is")
    if not contribution.name.strip() or "/" in contribution.name:
        raise ValueError(f"{contribution.name!r} is no name for a {contribution.kind}: it is empty or holds a '/'")
    _check_references(contribution.name, {name: values[name] for name in REFERENCES if name in values})
    if isinstance(contribution, Recipe):
        _check_weights(contribution)
    return contribution


def _check_references(name: str, references: Mapping[str, str]) -> None:
    for place, reference in references.items():
        module, _, attribute = reference.partition(":")
        if (reference or place != "training") and not (module and attribute.isidentifier()):
            raise ValueError(f"{name!r}: {place}={reference!r} is not of the form 'package.module:attribute'")


def _check_weights(recipe: Recipe) -> None:
    if not isinstance(recipe.weights, Mapping):
        raise TypeError(f"{recipe.name!r}: weights={recipe.weights!r} must be a dict from tags to 'org/name@revision'")
    for tag, place in recipe.weights.items():
        if not isinstance(tag, str) or not tag.isidentifier():
            raise ValueError(f"{recipe.name!r}: weights: a tag is one word, such as 'coco', not {tag!r}")
        if not isinstance(place, str) or not NAME_ON_HUB.fullmatch(place):
            raise ValueError(f"{recipe.name!r}: weights: {tag!r} is {place!r}, which is not of the form 'org/name@revision'")
