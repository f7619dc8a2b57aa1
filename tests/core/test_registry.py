"""Names to contributions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.stubs import STUBS, Even, EvenSpec, component, plain_one_stage
from zoo_core.contributions import Component, Family, Recipe
from zoo_core.errors import AmbiguousNameError, BrokenPluginError, SpecError, UnknownNameError
from zoo_core.registry import contributed, entries, find, list_models, names

pytestmark = pytest.mark.usefixtures("bare")
HERE = __name__
asked: list[str] = []


def offers(name: str) -> bool:
    asked.append(name)
    return name in known()


def known() -> list[str]:
    return ["exotic_small", "exotic_large"]


def fails(*_: str) -> bool:
    raise OSError("no library")


def leaves() -> None:
    raise SystemExit("bye")


def misfit() -> None:
    raise SpecError([("neck", "does not fit")])


EXOTIC = Family("neck", "exotics", f"{HERE}:EvenSpec", f"{HERE}:Even", f"{HERE}:offers", f"{HERE}:known")
FAILING = Family("neck", "failing", f"{HERE}:EvenSpec", f"{HERE}:Even", f"{HERE}:fails", f"{HERE}:fails")


def unknown(kind: str, name: str) -> str:
    with pytest.raises(UnknownNameError) as error:
        find(kind, name)
    return str(error.value)


def test_a_part_is_found_by_its_name_and_by_its_qualified_name() -> None:
    with contributed(component("neck", "even", EvenSpec, Even), distribution="zoo-mine"):
        entry = find("neck", "even")
        assert find("neck", "zoo-mine/even") == entry
        assert (entry.qualified, entry.spec(), entry.target()) == ("zoo-mine/even", EvenSpec, Even)
        assert "even" in unknown("backbone", "even"), "a name holds for its kind alone"


def test_a_recipe_gives_its_spec() -> None:
    with contributed(*STUBS):
        assert find("detector", "plain_one_stage").spec() == plain_one_stage()
        assert find("detector", "plain_one_stage").target() is plain_one_stage


def test_names_are_sorted_and_each_can_be_found() -> None:
    with contributed(*STUBS, EXOTIC):
        assert names("backbone") == ["blocks", "resnet18"]
        assert names("neck") == ["even"], "a family is no name of a part"
        for entry in entries():
            if not isinstance(entry.contribution, Family):
                assert find(entry.contribution.kind, entry.contribution.name) == entry


def test_models_by_pattern() -> None:
    with contributed(*STUBS):
        assert list_models() == ["plain_one_stage", "plain_two_stage", "plain_two_stage_wide"]
        assert list_models("*two*") == ["plain_two_stage", "plain_two_stage_wide"]
        assert list_models("two") == list_models("TWO_stage") == ["plain_two_stage", "plain_two_stage_wide"]
        assert list_models("plain_two_*") == ["plain_two_stage", "plain_two_stage_wide"]
        assert list_models("two_*") == [], "a pattern is for all of the name"
        assert list_models("zzz") == []


def test_what_was_contributed_is_gone_after_the_block() -> None:
    def interrupted() -> None:
        with contributed(component("neck", "even", EvenSpec, Even)):
            find("neck", "even")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert "even" in unknown("neck", "even")


def test_what_is_not_well_formed_cannot_be_contributed() -> None:
    with pytest.raises(ValueError, match="has kind 'nekc'"), contributed(Component("nekc", "a", "a:b", "a:b")):
        pass
    assert not [entry for entry in entries() if entry.plugin.distribution == "local"]


def test_a_kind_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"no kind 'nekc'; the kinds are detector, assembly"):
        find("nekc", "fpn")


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("backbone", "resnet19", "no backbone named 'resnet19'; did you mean 'resnet18'?"),
        ("dense_head", "plain_haed", "no dense head named 'plain_haed'; did you mean 'plain_head'?"),
        ("detector", "plain_tow_stage", "no detector named 'plain_tow_stage'; did you mean 'plain_two_stage'?"),
        ("neck", "local/evne", "no neck named 'local/evne' ('zoo-cli list --kind neck' shows what is installed; "),
        ("neck", "", "no neck named '' ('zoo-cli list --kind neck' shows what is installed; the zoo's own parts: "),
        ("neck", "zzz", "no neck named 'zzz' ('zoo-cli list --kind neck' shows what is installed; "),
        ("neck", "other/even", "no neck named 'other/even'"),
        ("neck", "/even", "no neck named '/even'; did you mean 'even'?"),
        ("neck", "x" * 1000, f"no neck named '{'x' * 100}…'"),
    ],
)
def test_an_unknown_name(kind: str, name: str, text: str) -> None:
    with contributed(*STUBS):
        found = unknown(kind, name)
    assert found.startswith(text)
    if text.endswith("?"):
        assert found == text
    else:
        assert "pip install 'zoo-core[all]'" in found or "did you mean" in found


def test_a_name_that_two_distributions_offer() -> None:
    part = component("neck", "even", EvenSpec, Even)
    with contributed(part, distribution="zoo-b"), contributed(part, distribution="zoo-a"):
        with pytest.raises(AmbiguousNameError) as error:
            find("neck", "even")
        assert str(error.value) == "neck 'even' is offered by zoo-a and zoo-b; write one of 'zoo-a/even', 'zoo-b/even'"
        assert find("neck", "zoo-a/even").plugin.distribution == "zoo-a"
    with contributed(part, distribution="zoo-b"):
        assert find("neck", "even").plugin.distribution == "zoo-b"


def test_a_family_is_asked_only_for_a_name_found_nowhere_else() -> None:
    asked.clear()
    with contributed(component("neck", "even", EvenSpec, Even), EXOTIC):
        assert find("neck", "even").contribution.name == "even"
        assert asked == []
        assert find("neck", "exotic_small").contribution == EXOTIC
        assert asked == ["exotic_small"]
        assert find("neck", "local/exotic_small").contribution == EXOTIC
        assert asked == ["exotic_small"] * 2
        assert unknown("neck", "other/exotic_small") == ("no neck named 'other/exotic_small'; did you mean 'exotic_small'?")
        assert not [name for name in asked if "/" in name], "another distribution's is not asked for"
        assert unknown("neck", "exotic_smal") == "no neck named 'exotic_smal'; did you mean 'exotic_small'?"
        assert "no neck named 'exotics'" in unknown("neck", "exotics"), "a family's own name is none of a part"
        asked.clear()
        unknown("backbone", "exotic_small")
        assert asked == [], "families of other kinds are not asked"


def test_two_families_that_offer_a_name() -> None:
    with contributed(EXOTIC, distribution="zoo-a"), contributed(EXOTIC, distribution="zoo-b"):
        with pytest.raises(AmbiguousNameError, match="write one of 'zoo-a/exotic_small', 'zoo-b/exotic_small'"):
            find("neck", "exotic_small")
        assert find("neck", "zoo-b/exotic_small").plugin.distribution == "zoo-b"


def test_a_family_that_fails_hides_no_other() -> None:
    with contributed(FAILING, distribution="zoo-a"), contributed(EXOTIC, distribution="zoo-b"):
        assert find("neck", "exotic_small").plugin.distribution == "zoo-b"
        assert unknown("neck", "exotic_smalll") == (
            "no neck named 'exotic_smalll'; did you mean 'exotic_small'? "
            f"(neck 'failing' of zoo-a 0 fails in {HERE}:fails: OSError: no library)"
        )


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("no_such_module:X", "cannot be imported from no_such_module:X: ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{HERE}:Gone", f"cannot be imported from {HERE}:Gone: AttributeError: "),
    ],
)
def test_a_part_that_cannot_be_imported(reference: str, text: str) -> None:
    part = Component("neck", "bad", reference, reference)
    with contributed(part, distribution="zoo-bad"):
        for load in (find("neck", "bad").spec, find("neck", "bad").target):
            with pytest.raises(BrokenPluginError) as error:
                load()
            assert str(error.value).startswith(f"neck 'bad' of zoo-bad 0 {text}")


@pytest.mark.parametrize(
    ("function", "text"), [("leaves", "SystemExit: bye"), ("fails", "OSError: no library"), ("find", "TypeError: ")]
)
def test_a_recipe_that_raises(function: str, text: str) -> None:
    with contributed(Recipe("detector", "bad", f"{HERE}:{function}"), distribution="zoo-bad"):
        with pytest.raises(BrokenPluginError) as error:
            find("detector", "bad").spec()
        assert str(error.value).startswith(f"detector 'bad' of zoo-bad 0 fails in {HERE}:{function}: {text}")


def test_what_the_zoo_raises_in_a_recipe_stays_what_it_is() -> None:
    with contributed(Recipe("detector", "bad", f"{HERE}:misfit")), pytest.raises(SpecError, match=r"^neck: does not fit$"):
        find("detector", "bad").spec()


def test_plugins_that_cannot_be_used_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo_core import registry

    core = registry.plugins()
    bad = replace(core[0], name="x", distribution="zoo-bad", contributions=(), error="ImportError: no torch")
    off = replace(core[0], name="y", distribution="zoo-off", contributions=(), disabled=True)
    monkeypatch.setattr(registry, "plugins", lambda: (*core, bad, off))
    with contributed(*STUBS):
        assert unknown("neck", "evne") == (
            "no neck named 'evne'; did you mean 'even'? (plugin zoo-bad is broken: ImportError: no torch) "
            "(plugin zoo-off is disabled)"
        )
