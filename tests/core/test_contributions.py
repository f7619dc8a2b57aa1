"""Contributions are plain strings, and are checked when a plugin is read."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from zoo_core.contributions import KINDS, Component, Family, Recipe, check, load_reference

PART = Component("neck", "mine", "a.b:Spec", "a.b:Neck", "a neck")
FAMILY = Family("backbone", "all", "a:Spec", "a:Target", "a:offers", "a:names")
RECIPE = Recipe("detector", "mine", "a:recipe")


@pytest.mark.parametrize(
    "contribution",
    [PART, FAMILY, RECIPE, replace(RECIPE, training="a:training"), replace(RECIPE, weights={"coco": "org/name@v1.0"})],
)
def test_what_is_well_formed_passes_unchanged(contribution: Any) -> None:
    assert check(contribution) is contribution
    with pytest.raises(FrozenInstanceError):
        contribution.name = "other"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "detector"])
def test_every_kind_but_that_of_recipes_takes_components(kind: str) -> None:
    check(replace(PART, kind=kind))


@pytest.mark.parametrize(
    ("contribution", "message"),
    [
        (replace(RECIPE, training="a.training"), "training='a.training' is not of the form 'package.module:attribute'"),
        (replace(RECIPE, weights="org/name"), "weights='org/name' must be a dict from tags to 'org/name@revision'"),  # type: ignore[arg-type]
        (replace(RECIPE, weights={"a b": "org/name"}), "a tag is one word, such as 'coco', not 'a b'"),
        (replace(RECIPE, weights={"coco": "../name"}), "'coco' is '../name', which is not of the form 'org/name@revision'"),
        (5, "zoo_contributions() yielded 5; expected a Component, Family or Recipe"),
        (("neck", "mine"), "expected a Component, Family or Recipe"),
        (replace(PART, kind="nekc"), "'mine' has kind 'nekc'; the kinds are detector, assembly, "),
        (replace(PART, kind="detector"), "a Recipe is of kind 'detector', and nothing else is"),
        (replace(RECIPE, kind="neck"), "a Recipe is of kind 'detector', and nothing else is"),
        (replace(PART, name=""), "'' is no name for a neck: it is empty or holds a '/'"),
        (replace(PART, name=" "), "' ' is no name for a neck"),
        (replace(PART, name="a/b"), "'a/b' is no name for a neck"),
        (replace(PART, name=None), "None: name=None must be a string"),  # type: ignore[arg-type]
        (replace(PART, summary=3), "'mine': summary=3 must be a string"),  # type: ignore[arg-type]
        (replace(PART, kind=["neck"]), "'mine': kind=['neck'] must be a string"),  # type: ignore[arg-type]
        (replace(PART, spec="a.b.Spec"), "'mine': spec='a.b.Spec' is not of the form 'package.module:attribute'"),
        (replace(PART, target="a:b:c"), "target='a:b:c' is not of the form"),
        (replace(PART, target=":b"), "target=':b' is not of the form"),
        (replace(PART, target="a:"), "target='a:' is not of the form"),
        (replace(FAMILY, offers="offers"), "offers='offers' is not of the form"),
        (replace(FAMILY, names="names"), "names='names' is not of the form"),
        (replace(RECIPE, target="recipe"), "target='recipe' is not of the form"),
    ],
)
def test_what_is_not_is_refused(contribution: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        check(contribution)
    assert message in str(error.value)


def test_a_reference_is_imported() -> None:
    assert load_reference("zoo_core.contributions:Component") is Component
    with pytest.raises(AttributeError):
        load_reference("zoo_core.contributions:Nothing")
    with pytest.raises(ModuleNotFoundError):
        load_reference("zoo_core.nowhere:Nothing")
