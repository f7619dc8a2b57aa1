"""A name and overrides to a complete spec: the rule of overrides, and what is said of those that do not fit."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from tests.core.stubs import (
    STUBS,
    EvenSpec,
    FirstSpec,
    OverlapSpec,
    PlainHeadSpec,
    PoolHeadSpec,
    plain_one_stage,
    plain_two_stage,
)
from zoo_core import registry
from zoo_core.contributions import Recipe
from zoo_core.errors import BrokenPluginError, InputError, SpecError, UnknownNameError, ZooError
from zoo_core.recipes import describe, merge, override, resolve
from zoo_core.registry import contributed

pytestmark = pytest.mark.usefixtures("stubs")
BASE = "plain_two_stage"


def refused(**overrides: Any) -> str:
    with pytest.raises(SpecError) as error:
        resolve(BASE, overrides)
    return str(error.value)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"roi_head": {"widht": 3}}, "roi_head: no option 'widht'; did you mean 'width'?"),
        ({"backbone": "resnet19"}, "backbone: no backbone named 'resnet19'; did you mean 'resnet18'?"),
        ({"backbone": {"type": "resnet19"}}, "backbone: no backbone named 'resnet19'; did you mean 'resnet18'?"),
        ({"rio_head": "pool_head"}, "no option 'rio_head'; did you mean 'roi_head'?"),
        (
            {"proposer": {"assigner": {"positive": 2}}},
            "proposer.assigner.positive: input should be less than or equal to 1, got 2",
        ),
        ({"proposer": {"assigner": {"positve": 1}}}, "proposer.assigner: no option 'positve'; did you mean 'positive'?"),
        ({"proposer": {"assigner": "overlapp"}}, "proposer.assigner: no assigner named 'overlapp'; did you mean 'overlap'?"),
        ({"num_classes": 0}, "num_classes: input should be greater than or equal to 1, got 0"),
        ({"num_classes": 10**9}, "num_classes: input should be less than or equal to 100000, got 1000000000"),
        ({"preprocess": {"long_side": 10}}, "preprocess: short_side 96 is longer than long_side 10"),
        ({"type": "one_stage"}, "type: assembly 'one_stage' takes a OneStageSpec, not a TwoStageSpec"),
        ({"type": "two_stages"}, "type: no assembly named 'two_stages'; did you mean 'two_stage'?"),
        (
            {"num_classes": "many", "backbone": "resnet19", "neck": {"widht": 1, "width": -1}, "roi_head": 5, "hed": 1},
            "num_classes: input should be a valid integer, unable to parse string as an integer, got 'many'\n"
            "backbone: no backbone named 'resnet19'; did you mean 'resnet18'?\n"
            "neck.width: input should be greater than 0, got -1\n"
            "neck: no option 'widht'; did you mean 'width'?\n"
            "roi_head: expected a name, a dict with 'type', or a spec of a roi head; got 5\n"
            "no option 'hed'",
        ),
    ],
)
def test_overrides_that_do_not_fit(overrides: dict[str, Any], text: str) -> None:
    assert refused(**overrides) == text


def cyclic() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["assigner"] = found
    return found


HOSTILE: list[Any] = [
    *(None, 5, -1.5, True, [], (), {}, "", " ", "x" * 10**5, b"blocks", object(), object, len, lambda: None, range(3), {"a"}),
    *({"type": None}, {"type": 5}, {"type": []}, {"type": {}}, {"type": ""}, {"type": "os:system"}, {"type": "../blocks"}),
    *({5: 6}, {None: None}, {(): ()}, {"": 1}, {"self": 1}, {"model_config": {}}, {"__class__": int}, {"__init__": 1}),
    *("\ud800", "a\0b", "a\nb", "local/", "/", "//", "local/blocks/", 10**5000, float("nan"), float("inf"), Ellipsis, type),
    *(cyclic(), EvenSpec(), FirstSpec(), EvenSpec.model_construct(type=5), plain_one_stage, PoolHeadSpec),
]


@pytest.mark.parametrize("option", ["num_classes", "preprocess", "backbone", "neck", "proposer", "roi_head", "type", "new"])
def test_whatever_is_given_the_outcome_is_a_spec_or_an_error_of_the_zoo(option: str) -> None:
    for value in HOSTILE:
        for given in (value, {"type": value}, {"assigner": value}, {"width": value}):
            with suppress(ZooError):
                spec = resolve(BASE, {option: given})
                assert resolve(spec) == spec


@pytest.mark.parametrize("name", [value for value in HOSTILE if not isinstance(value, EvenSpec | FirstSpec)], ids=type)
def test_whatever_is_named_the_outcome_is_an_error_of_the_zoo(name: Any) -> None:
    with pytest.raises((UnknownNameError, InputError)):
        resolve(name)


@pytest.mark.parametrize("spec", [EvenSpec(), FirstSpec()])
def test_a_spec_of_no_detector(spec: Any) -> None:
    with pytest.raises(SpecError, match=f"^type: no assembly named '{spec.type}'"):
        resolve(spec)


def test_a_name_gives_the_recipe() -> None:
    assert resolve(BASE) == plain_two_stage()
    assert resolve(f"local/{BASE}") == plain_two_stage()
    with pytest.raises(UnknownNameError, match=r"^no detector named 'plain_two_stag'; did you mean 'plain_two_stage'\?$"):
        resolve("plain_two_stag")


def test_a_spec_is_taken_as_well() -> None:
    spec = plain_two_stage()
    assert resolve(spec) == spec
    assert resolve(spec, {"num_classes": 7}).num_classes == 7  # type: ignore[attr-defined]
    assert spec.num_classes == 3


def test_a_variant_is_the_recipe_with_overrides() -> None:
    wide = resolve("plain_two_stage_wide")
    assert wide == override(plain_two_stage(), {"neck": {"width": 12}})
    assert wide.model_dump()["neck"] == {"type": "even", "width": 12}


OWN = OverlapSpec(positive=0.6, negative=0.3)
"""The assigner of the recipe's proposer, which is not the default."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"side": 3.0}, {"side": 3.0, "assigner": OWN}),
        ({"type": "plain_head", "side": 3.0}, {"side": 3.0, "assigner": OWN}),
        ({"assigner": {"positive": 0.9}}, {"assigner": OverlapSpec(positive=0.9, negative=0.3)}),
        ({"assigner": {"type": "overlap", "positive": 0.9}}, {"assigner": OverlapSpec(positive=0.9, negative=0.3)}),
        ({"assigner": "overlap"}, {}),
        ({"assigner": OverlapSpec(negative=0.2)}, {"assigner": OverlapSpec(negative=0.2)}),
        ({}, {"assigner": OWN}),
        ("plain_head", {}),
        (lambda: PlainHeadSpec(most=3), {"most": 3}),
        ({"type": "local/plain_head", "most": 3}, {"type": "local/plain_head", "most": 3}),
    ],
)
def test_the_rule_of_overrides(value: Any, expected: dict[str, Any]) -> None:
    """A name or a spec replaces; a dict of the same type, or of none, merges; a dict of another type replaces."""
    spec = resolve(BASE, {"proposer": value() if callable(value) else value})
    assert spec.proposer == PlainHeadSpec(**expected)  # type: ignore[attr-defined]
    assert spec.roi_head == plain_two_stage().roi_head  # type: ignore[attr-defined]


def test_a_slot_that_was_empty_and_one_that_is_emptied() -> None:
    bare = resolve(BASE, {"neck": None})
    assert bare.neck is None  # type: ignore[attr-defined]
    assert resolve(bare, {"neck": "even"}).neck == EvenSpec()  # type: ignore[attr-defined]
    with pytest.raises(SpecError, match=r"^neck: expected a name, a dict with 'type', or a spec of a neck; got {'width': 3}$"):
        resolve(bare, {"neck": {"width": 3}})


def test_merging_leaves_what_it_merges_as_it_was() -> None:
    base, overrides = {"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [2]}, "e": {"f": 3}}
    copies = json.dumps([base, overrides])
    merged = merge(base, overrides)
    assert merged == {"a": {"b": 1, "c": [2]}, "d": 2, "e": {"f": 3}}
    assert json.dumps([base, overrides]) == copies


def test_describe_is_plain_data_that_leads_back() -> None:
    data = describe(BASE, neck={"width": 5}, num_classes=9)
    assert json.loads(json.dumps(data)) == data
    assert (data["type"], data["num_classes"], data["neck"]) == ("two_stage", 9, {"type": "even", "width": 5})
    assert type(plain_two_stage())(**data) == resolve(BASE, {"neck": {"width": 5}, "num_classes": 9})
    with pytest.raises(SpecError, match="did you mean 'resnet18'"):
        describe(BASE, backbone="resnet19")


def nothing() -> None:
    return None


def needs_what_is_not_there() -> Any:
    return override(plain_two_stage(), {"backbone": "resnet999"})


def test_a_recipe_that_gives_no_spec() -> None:
    for target, text in (("nothing", "returns a NoneType instead of a spec"), ("cyclic", "returns a dict instead of a spec")):
        with contributed(Recipe("detector", "bad", f"{__name__}:{target}"), distribution="zoo-bad"):
            with pytest.raises(BrokenPluginError) as error:
                resolve("bad")
            assert str(error.value) == f"detector 'bad' of zoo-bad 0 {text}"


def test_a_recipe_of_parts_that_are_not_installed() -> None:
    with contributed(Recipe("detector", "far", f"{__name__}:needs_what_is_not_there")), pytest.raises(SpecError) as error:
        resolve("far", {"num_classes": 2})
    assert str(error.value).startswith("backbone: no backbone named 'resnet999'")


def test_a_recipe_whose_plugin_is_there_without_that_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [part for part in STUBS if part.kind not in ("neck", "detector")]
    recipe = Recipe("detector", "alone", "tests.core.stubs:plain_two_stage")
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_extra", [])
        with contributed(*parts, recipe), pytest.raises(SpecError) as error:
            resolve("alone")
    assert str(error.value) == (
        "neck: no neck named 'even' ('zoo-cli list --kind neck' shows what is installed; "
        "the zoo's own parts: pip install 'zoo-core[all]')"
    )
