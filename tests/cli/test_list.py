"""zoo-cli list: what it shows, and how little it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_core.contributions import Component, Family, Recipe
from zoo_core.registry import contributed

PARTS = (
    Recipe("detector", "quick_r18", "nowhere:quick", "Quick detector with ResNet-18"),
    Component("neck", "quick_neck", "nowhere:Spec", "nowhere:Neck", "a neck " + "that goes on and on " * 9),
    Component("neck", "other", "nowhere:Spec", "nowhere:Neck", "another"),
)


def offers(name: str) -> bool:
    return name in names()


def names() -> list[str]:
    return ["exotic_small", "exotic_large"]


def test_one_heading_for_each_kind_and_lines_that_fit(cli) -> None:
    with contributed(*PARTS):
        outcome = cli("list", "quick")
    lines = outcome.out.splitlines()
    assert lines[0] == "detector"
    assert lines[1] == "  quick_r18   local  Quick detector with ResNet-18"
    assert lines[2:4] == ["", "neck"]
    assert lines[4].startswith("  quick_neck  local  a neck that")
    assert lines[4].endswith("…")
    assert len(lines[4]) <= 80


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("QUICK",), ["quick_r18", "quick_neck"]),
        (("quick_*8",), ["quick_r18"]),
        (("q[a-z]*_neck",), ["quick_neck"]),
        (("local/*",), ["quick_r18", "other", "quick_neck"]),
        (("local/", "--kind", "neck"), ["other", "quick_neck"]),
        (("uick_*",), []),
    ],
)
def test_patterns(cli, arguments, expected) -> None:
    with contributed(*PARTS):
        outcome = cli("list", *arguments, "--json")
    assert [row["name"] for row in json.loads(outcome.out)] == expected


def test_json_is_one_document(cli) -> None:
    with contributed(*PARTS):
        rows = json.loads(cli("list", "quick_r18", "--json").out)
    assert rows == [
        {
            "kind": "detector",
            "name": "quick_r18",
            "type": "recipe",
            "distribution": "local",
            "version": "0",
            "summary": "Quick detector with ResNet-18",
            "family": False,
        }
    ]


def test_a_name_offered_twice_is_listed_with_its_distribution(cli) -> None:
    with contributed(PARTS[2]), contributed(PARTS[2], distribution="stranger"):
        rows = json.loads(cli("list", "other", "--json").out)
    assert [row["name"] for row in rows] == ["local/other", "stranger/other"]


def test_families_are_asked_when_nothing_else_fits(cli) -> None:
    family = Family("backbone", "exotics", "nowhere:S", "nowhere:T", f"{__name__}:offers", f"{__name__}:names")
    with contributed(family):
        rows = json.loads(cli("list", "exotic_s*", "--json").out)
    assert [(row["name"], row["type"], row["family"]) for row in rows] == [("exotic_small", "component", False)]


def test_a_family_does_not_look_like_one_of_its_parts(cli) -> None:
    family = Family("backbone", "exotics", "nowhere:S", "nowhere:T", f"{__name__}:offers", f"{__name__}:names", "odd ones")
    with contributed(family):
        assert cli("list", "exotics").out == "backbone\n  (any exotics name)  local  odd ones\n"
        (row,) = json.loads(cli("list", "exotics", "--json").out)
        assert "did you mean" not in cli("list", "exoticz").err
    assert (row["name"], row["type"], row["family"]) == ("exotics", "family", True)


def test_a_family_that_fails_is_told_and_harms_nobody(cli) -> None:
    family = Family("backbone", "exotics", "nowhere:S", "nowhere:T", "nowhere:offers", "nowhere:names")
    with contributed(family):
        outcome = cli("list", "exotic_s*", "--json")
    assert (outcome.status, outcome.out) == (0, "[]\n")
    assert "zoo-cli: backbone 'exotics' of local 0 cannot be imported from nowhere:names" in outcome.err


def test_nothing_found_is_said_with_the_nearest_name(cli) -> None:
    with contributed(*PARTS):
        outcome = cli("list", "qick_r18")
    assert outcome.status == 0
    assert outcome.out == ""
    assert "nothing of that name is installed; did you mean 'quick_r18'?" in outcome.err


def test_a_broken_plugin_changes_nothing_but_a_note(cli, install) -> None:
    before = cli("list").out
    install("zoo-broken", "raise ImportError('no such thing')")
    outcome = cli("list")
    assert (outcome.status, outcome.out) == (0, before)
    assert "zoo-broken did not load; 'zoo-cli plugins' tells why" in outcome.err


def test_listing_imports_nothing_heavy() -> None:
    program = (
        "import sys; from zoo_cli.main import main; main(['list']); main(['list', '--json']);"
        "print([m for m in ('torch', 'torchvision', 'pydantic', 'timm', 'numpy', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_listing_is_quick() -> None:
    command = [Path(sys.executable).with_name("zoo-cli"), "list"]
    times: list[float] = []
    while len(times) < 10 and min(times, default=1.0) >= 0.2:
        before = os.times()
        subprocess.run(command, capture_output=True, check=True)
        after = os.times()  # the processor's time: on a quiet machine that of the clock, and on a busy one the same
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(times) < 0.2, f"zoo-cli list took {min(times):.2f} s at best"
