"""zoo-cli plugins: what each offers, and what to do about one that does not load."""

from __future__ import annotations

import json

import pytest

GOOD = """
from zoo_core.contributions import Component
from zoo_core.plugins import hookimpl

@hookimpl
def zoo_contributions():
    yield Component("neck", "good_neck", "nowhere:Spec", "nowhere:Neck")
"""


def test_a_plugin_and_what_it_offers(cli, install) -> None:
    install("zoo-good", GOOD)
    line = next(line for line in cli("plugins").out.splitlines() if "zoo-good" in line)
    assert line.split() == ["ok", "zoo-good", "0.3", "it", "good_neck"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        (GOOD.replace('"neck"', '"nekc"'), "ValueError: 'good_neck' has kind 'nekc'"),
    ],
)
def test_a_broken_plugin_with_its_error_and_its_removal(cli, install, source, error) -> None:
    install("zoo-broken", source)
    outcome = cli("plugins")
    assert outcome.status == 0
    assert next(line for line in outcome.out.splitlines() if "zoo-broken" in line).startswith("broken")
    assert f"\nzoo-broken: {error}" in outcome.out
    assert "pip uninstall zoo-broken\n" in outcome.out
    assert "Traceback" not in outcome.out
    assert "Traceback" in cli("plugins", "--trace").out


def test_json_has_it_all(cli, install) -> None:
    install("zoo-good", GOOD)
    install("zoo-broken", "import nowhere_to_be_found")
    records = {record["distribution"]: record for record in json.loads(cli("plugins", "--json").out)}
    assert records["zoo-good"]["status"] == "ok"
    assert records["zoo-good"]["contributions"] == ["neck/good_neck"]
    assert records["zoo-broken"]["status"] == "broken"
    assert records["zoo-broken"]["version"] == "0.3"
    assert records["zoo-broken"]["remedy"] == "pip uninstall zoo-broken"
    assert "Traceback" in records["zoo-broken"]["trace"]
    assert "zoo-core" in records


def test_the_variable_narrows_what_is_loaded(cli, install, monkeypatch) -> None:
    monkeypatch.setenv("ZOO_PLUGINS", "none")
    install("zoo-broken", "import nowhere_to_be_found")
    outcome = cli("plugins")
    assert next(line for line in outcome.out.splitlines() if "zoo-broken" in line).split() == [
        *("disabled", "zoo-broken", "0.3", "it", "-")
    ]
    assert "nowhere_to_be_found" not in outcome.out
