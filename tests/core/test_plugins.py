"""Discovery: every installed plugin is a record, and none that fails harms another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zoo_core import plugins as module
from zoo_core import registry
from zoo_core.contributions import Component
from zoo_core.errors import AmbiguousNameError, UnknownNameError
from zoo_core.plugins import CORE, Plugin, plugins, read

Install = Callable[..., None]

GOOD = """
from zoo_core.contributions import Component
from zoo_core.plugins import hookimpl

@hookimpl
def zoo_contributions():
    yield Component("neck", "{name}", "nowhere:Spec", "nowhere:Neck")
"""


def forget() -> None:
    plugins.cache_clear()
    registry._index.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a distribution with plugin modules of the given sources."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("ZOO_PLUGINS", raising=False)
    made: list[str] = []

    def run(distribution: str, *sources: str, points: str | None = None, metadata: str | None = None) -> None:
        stem = distribution.replace("-", "_")
        names = [f"{stem}_plugin_{k}" for k in range(len(sources))]
        for name, source in zip(names, sources, strict=True):
            (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{stem}-1.0.dist-info"
        info.mkdir()
        declared = "".join(f"it{k} = {name}\n" for k, name in enumerate(names))
        (info / "entry_points.txt").write_text(points or f"[zoo.plugins]\n{declared}", encoding="utf-8")
        described = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n" if metadata is None else metadata
        if described:
            (info / "METADATA").write_text(described, encoding="utf-8")
        made.extend(names)
        forget()

    forget()
    yield run
    for name in made:
        sys.modules.pop(name, None)
    monkeypatch.undo()
    forget()


def record(distribution: str) -> Plugin:
    """Return the only plugin of a distribution."""
    (found,) = (plugin for plugin in plugins() if plugin.distribution == distribution)
    return found


def test_a_plugin_is_found_with_what_it_offers(install: Install) -> None:
    install("zoo-good", GOOD.format(name="good"))
    found = record("zoo-good")
    assert (found.name, found.version, found.module, found.status) == ("it0", "1.0", "zoo_good_plugin_0", "ok")
    assert found.contributions == (Component("neck", "good", "nowhere:Spec", "nowhere:Neck"),)
    assert registry.find("neck", "good").qualified == "zoo-good/good"
    assert "good" in registry.names("neck")


def test_the_core_comes_first(install: Install) -> None:
    install("a-first", GOOD.format(name="good"))
    names = [plugin.distribution for plugin in plugins()]
    assert names[: names.count(CORE)] == [CORE] * names.count(CORE)
    assert names[names.count(CORE) :] == sorted(names[names.count(CORE) :])


HOOK = "from zoo_core.plugins import hookimpl\n\n@hookimpl\ndef "
BROKEN = {
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "def broken(:": "SyntaxError: ",
    "raise SystemExit(3)": "SystemExit: 3",
    "import sys; sys.exit('no licence')": "SystemExit: no licence",
    "class Odd(BaseException if 0 else Exception): pass\nraise Odd('x')": "Odd: x",
    "class Odder(BaseException): pass\nraise Odder('x')": "Odder: x",
    "raise ZeroDivisionError": "ZeroDivisionError: ",
    f"{HOOK}zoo_contributions():\n    raise KeyError('x')": "KeyError: 'x'",
    f"{HOOK}zoo_contributions():\n    yield 'x'": "TypeError: zoo_contributions() yielded 'x'; expected a Component",
    f"{HOOK}zoo_contributions():\n    return 5": "TypeError: 'int' object is not iterable",
    f"{HOOK}zoo_contributions():\n    import sys; sys.exit(1); yield": "SystemExit: 1",
    f"{HOOK}zoo_contributions(surprise):\n    return []": "PluginValidationError: ",
    f"{HOOK}zoo_contribution():\n    return []": "PluginValidationError: unknown hook 'zoo_contribution'",
    f"{HOOK}zoo_commands():\n    yield 'go'": "TypeError: zoo_commands() yielded 'go'; expected a tuple (name, summary, ",
    f"{HOOK}zoo_commands():\n    yield 'go', '', 3": "TypeError: zoo_commands() yielded",
    f"{HOOK}zoo_commands():\n    yield from [('go', 'a', 'b')] * 2": "ValueError: command 'go' is offered twice",
    GOOD.format(name="twin") + '    yield Component("neck", "twin", "a:B", "a:C")': "ValueError: neck 'twin' is offered twice",
}


@pytest.mark.parametrize(("source", "error"), BROKEN.items(), ids=[str(k) for k in range(len(BROKEN))])
def test_a_broken_plugin_is_a_record_and_the_others_work(install: Install, source: str, error: str) -> None:
    install("zoo-bad", source)
    install("zoo-good", GOOD.format(name="good"))
    found = record("zoo-bad")
    assert found.status == "broken"
    assert found.error.startswith(error)
    assert "Traceback (most recent call last)" in found.trace
    assert found.contributions == ()
    assert record("zoo-good").status == "ok"
    assert registry.find("neck", "good")


def test_what_a_plugin_prints_stays_out_of_the_output(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("zoo-loud", "print('imported')\n" + GOOD.format(name="good") + "    print('asked')\n")
    assert record("zoo-loud").status == "ok"
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "imported\nasked\n")


def test_a_plugin_cannot_take_the_output_away(install: Install) -> None:
    install("zoo-mute", "import sys\nsys.stdout = None\n" + GOOD.format(name="good"))
    before = sys.stdout
    try:
        assert record("zoo-mute").status == "ok"
        assert sys.stdout is before
    finally:
        sys.stdout = before


def test_an_interrupt_from_the_keyboard_is_not_the_plugins(install: Install) -> None:
    install("zoo-slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins()


@pytest.mark.parametrize(
    ("points", "metadata", "distribution"),
    [
        ("[zoo.plugins]\nno equals sign\n", None, "zoo-bad"),
        ("[zoo.plugins]\nit = not a module!\n", None, "zoo-bad"),
        ("[zoo.plugins]\nit = zoo_nowhere\n", "", "zoo_bad"),
        ("[zoo.plugins]\nit = zoo_nowhere:thing\n", "Metadata-Version: 2.1\n", "zoo_bad"),
    ],
)
def test_a_damaged_installation_hides_no_other(install: Install, points: str, metadata: str | None, distribution: str) -> None:
    install("zoo-bad", points=points, metadata=metadata)
    install("zoo-good", GOOD.format(name="good"))
    assert record(distribution).status == "broken"
    assert record("zoo-good").status == "ok"


def test_the_damage_of_strangers_does_not_matter(install: Install, tmp_path: Path) -> None:
    install("not-ours", points="no section\n", metadata="")
    install("nor-ours", points="x")
    (tmp_path / "nor_ours-1.0.dist-info" / "entry_points.txt").write_bytes(b"[zoo.plugins]\nit = \xff\n")
    install("zoo-good", GOOD.format(name="good"))
    assert record("zoo-good").status == "ok"
    assert not [plugin for plugin in plugins() if "ours" in plugin.distribution]


def test_two_plugins_of_one_distribution(install: Install) -> None:
    install("zoo-two", GOOD.format(name="one"), GOOD.format(name="two"))
    assert [plugin.name for plugin in plugins() if plugin.distribution == "zoo-two"] == ["it0", "it1"]
    assert registry.find("neck", "one").plugin.name == "it0"
    assert registry.find("neck", "zoo-two/two").plugin.name == "it1"


def test_plugins_of_one_name_in_two_distributions(install: Install) -> None:
    install("zoo-one", GOOD.format(name="one"))
    install("zoo-two", GOOD.format(name="two"))
    assert record("zoo-one").name == record("zoo-two").name == "it0"
    assert registry.find("neck", "one").plugin.distribution == "zoo-one"
    assert registry.find("neck", "two").plugin.distribution == "zoo-two"


def test_a_name_that_two_distributions_offer(install: Install) -> None:
    install("zoo-one", GOOD.format(name="same"))
    install("zoo-two", GOOD.format(name="same"))
    with pytest.raises(AmbiguousNameError) as error:
        registry.find("neck", "same")
    assert str(error.value) == ("neck 'same' is offered by zoo-one and zoo-two; write one of 'zoo-one/same', 'zoo-two/same'")
    assert registry.find("neck", "zoo-two/same").plugin.distribution == "zoo-two"


def test_a_name_that_two_plugins_of_one_distribution_offer(install: Install) -> None:
    install("zoo-twice", GOOD.format(name="same"), GOOD.format(name="same"))
    for name in ("same", "zoo-twice/same"):
        with pytest.raises(AmbiguousNameError, match=f"neck '{name}' is offered by 2 plugins of zoo-twice"):
            registry.find("neck", name)


def test_an_older_copy_further_down_the_path_is_hidden(
    install: Install, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("zoo-good", GOOD.format(name="good"))
    older = tmp_path_factory.mktemp("older")
    info = older / "zoo_good-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Zoo.Good\nVersion: 0.1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[zoo.plugins]\nit0 = zoo_good_plugin_0\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older)])
    forget()
    assert record("zoo-good").version == "1.0"
    assert not [plugin for plugin in plugins() if plugin.distribution == "Zoo.Good"]


@pytest.mark.parametrize(
    ("wanted", "enabled"),
    [
        ("none", set()),
        ("zoo-one", {"zoo-one"}),
        (" zoo-two , zoo-one ", {"zoo-one", "zoo-two"}),
        ("Zoo_Two", {"zoo-two"}),
        ("zoo-nothing", set()),
        ("", {"zoo-one", "zoo-two"}),
        (" ", {"zoo-one", "zoo-two"}),
    ],
)
def test_the_variable_narrows_what_is_loaded(
    install: Install, monkeypatch: pytest.MonkeyPatch, wanted: str, enabled: set[str]
) -> None:
    install("zoo-one", GOOD.format(name="one"))
    install("zoo-two", "import no_such_module" if "zoo-two" not in enabled else GOOD.format(name="two"))
    monkeypatch.setenv("ZOO_PLUGINS", wanted)
    forget()
    own = [plugin for plugin in plugins() if plugin.distribution in ("zoo-one", "zoo-two")]
    assert {plugin.distribution for plugin in own if plugin.status == "ok"} == enabled
    assert {plugin.status for plugin in own if plugin.distribution not in enabled} <= {"disabled"}
    assert "zoo_two_plugin_0" in sys.modules or "zoo-two" not in enabled
    assert all(plugin.status == "ok" for plugin in plugins() if plugin.distribution == CORE)


def test_an_unknown_name_tells_of_plugins_that_might_have_it(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("zoo-bad", "import no_such_module")
    install("zoo-off", GOOD.format(name="off"))
    monkeypatch.setenv("ZOO_PLUGINS", "zoo-bad")
    forget()
    with pytest.raises(UnknownNameError) as error:
        registry.find("sampler", "zzz")
    assert "(plugin zoo-bad is broken: ModuleNotFoundError: No module named 'no_such_module')" in str(error.value)
    assert "(plugin zoo-off is disabled)" in str(error.value)


def test_reading_a_module_is_what_discovery_does(install: Install) -> None:
    install("zoo-good", GOOD.format(name="good"))
    plugins()
    found = read(Plugin("x", "y", "z", "m"), sys.modules["zoo_good_plugin_0"])
    assert (found.name, found.distribution, len(found.contributions)) == ("x", "y", 1)
    assert module.GROUP == "zoo.plugins"
