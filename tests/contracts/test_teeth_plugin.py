"""The suite has teeth: plugins that declare what is not so are caught."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo_core.testing import ContractError, check_plugin

pytestmark = pytest.mark.usefixtures("stubs")

HEAD = """
from zoo_core.contributions import Component, Family, Recipe
from zoo_core.plugins import hookimpl

@hookimpl
def zoo_contributions():
"""
PARTS = """
from zoo_core.specs import ComponentSpec
class GoodSpec(ComponentSpec):
    type: str = "good"
class NamelessSpec(ComponentSpec):
    pass
class NeedsWidthSpec(ComponentSpec):
    type: str = "good"
    width: int
class WrongDefaultSpec(ComponentSpec):
    type: str = "good"
    width: int = "many"
class NotASpec:
    pass
def part(spec): ...
def nothing(): return None
def breaks(): raise KeyError("width")
def any_name(name): return True
def no_name(name): return False
def names(): return ["one", "two"]
def known(name): return name in names()
"""
COMPONENT = '    yield Component("sampler", "good", "mine_parts:{spec}", "mine_parts:{target}")\n'
FAMILY = """    yield Family(
        "sampler", "all", "mine_parts:NamelessSpec", "mine_parts:part", "mine_parts:{offers}", "mine_parts:names"
    )
"""
RECIPE = '    yield Recipe("detector", "good", "mine_parts:{target}")\n'


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Return a function that writes a plugin's modules and returns the name of the plugin."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, parts: str = PARTS) -> str:
        (tmp_path / "mine_plugin.py").write_text(source, encoding="utf-8")
        (tmp_path / "mine_parts.py").write_text(parts, encoding="utf-8")
        for name in ("mine_plugin", "mine_parts"):
            sys.modules.pop(name, None)
        return "mine_plugin"

    return write


@pytest.mark.parametrize(
    "source",
    [
        HEAD + COMPONENT.format(spec="GoodSpec", target="part"),
        HEAD + COMPONENT.format(spec="NamelessSpec", target="part"),
        HEAD + COMPONENT.format(spec="NeedsWidthSpec", target="part"),
        HEAD + FAMILY.format(offers="known"),
        HEAD + '    yield Recipe("detector", "good", "tests.core.stubs:plain_one_stage")\n',
    ],
)
def test_a_good_plugin_passes(plugin: Callable[..., str], source: str) -> None:
    check_plugin(plugin(source))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import torch\n" + HEAD + COMPONENT.format(spec="GoodSpec", target="part"), "listing imports numpy, torch"),
        ("import pydantic\n" + HEAD + COMPONENT.format(spec="GoodSpec", target="part"), "listing imports pydantic"),
        (HEAD.replace("@hookimpl", "") + "    return []\n", "it offers nothing; is each hook marked with @hookimpl?"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        (HEAD + "    yield 5\n", "TypeError: zoo_contributions() yielded 5"),
        (HEAD + COMPONENT.format(spec="GoneSpec", target="part"), "has no attribute 'GoneSpec'"),
        (HEAD + COMPONENT.format(spec="GoodSpec", target="gone"), "has no attribute 'gone'"),
        (HEAD + COMPONENT.format(spec="GoodSpec", target="__name__"), "mine_parts:__name__ cannot be called"),
        (HEAD + COMPONENT.format(spec="NotASpec", target="part"), "which is no subclass of ComponentSpec"),
        (
            HEAD + COMPONENT.format(spec="WrongDefaultSpec", target="part"),
            "but they do not fit: width: input should be a valid int",
        ),
        (
            HEAD + COMPONENT.format(spec="GoodSpec", target="part").replace('"good"', '"other"'),
            "sampler 'other': the `type` of GoodSpec is 'good' by default; it must be the registered name, or required",
        ),
        (
            HEAD + COMPONENT.format(spec="GoodSpec", target="part").replace("sampler", "neck"),
            "neck 'good': mine_parts:part is no subclass of Neck",
        ),
        (HEAD + FAMILY.format(offers="any_name"), "it offers any name whatever"),
        (HEAD + FAMILY.format(offers="no_name"), "it lists 'one', but does not offer it"),
        (HEAD + RECIPE.format(target="nothing"), "the recipe returns a NoneType, not a spec"),
        (HEAD + RECIPE.format(target="breaks"), "fails in mine_parts:breaks: KeyError: 'width'"),
        (HEAD + RECIPE.format(target="GoodSpec"), "no assembly named 'good'"),
        (
            HEAD.replace("zoo_contributions", "zoo_commands") + '    yield "go", "goes", "mine_parts"\n',
            "command 'go': mine_parts has no function arguments and no function run",
        ),
    ],
)
def test_a_plugin_that_is_not_what_it_says_is_caught(plugin: Callable[..., str], source: str, message: str) -> None:
    with pytest.raises(ContractError) as error:
        check_plugin(plugin(source))
    assert str(error.value).startswith("plugin 'mine_plugin'")
    assert message in str(error.value)


def test_options_that_import_torch_are_caught(plugin: Callable[..., str]) -> None:
    name = plugin(HEAD + COMPONENT.format(spec="GoodSpec", target="part"), "import torch\n" + PARTS)
    with pytest.raises(ContractError, match=r"the options \(mine_parts\) import torch; keep them in a module without"):
        check_plugin(name)


def test_what_is_not_installed_is_told() -> None:
    with pytest.raises(ContractError, match="plugin 'zoo-nothing', imported as a module, for no distribution of that name"):
        check_plugin("zoo-nothing")
