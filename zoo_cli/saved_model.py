"""A saved model in words, and as JSON: what its ``config.json`` says, whether or not all that it needs is installed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo_cli.options import flat, settings, text, tree
from zoo_cli.table import clip, plain, width
from zoo_core import hub
from zoo_core.errors import ZooError
from zoo_core.origins import Requirement, pip_line, requirements

MOST_NAMES = 100
LONGEST_NAME = 60
LABEL = 11
"""Columns before what a line says."""


def document(name: str, folder: Path) -> dict[str, Any]:
    """Return it as JSON has it. `name` is what the user has called it."""
    config = hub.read_config(folder)
    needs = requirements(config.plugins)
    return {
        "kind": "model",
        "name": name,
        "folder": str(folder),
        "format": config.format,
        "recipe": config.recipe,
        "class_names": list(config.class_names),
        "plugins": [vars(need) for need in needs],
        "pip": pip_line(_to_install(needs)),
        "problem": _problem(config, folder),
        "preprocess": config.spec.get("preprocess"),
        "spec": config.spec,
    }


def page(name: str, folder: Path) -> str:
    """Return it as text, in which nothing of a stranger's file is obeyed by a terminal."""
    config = hub.read_config(folder)
    needs = requirements(config.plugins)
    lines = [f"{plain(name)}: a saved model"]
    lines += _row("recipe", config.recipe or "none; a network of its own")
    lines += _row("classes", _classes(config.class_names))
    for place, need in enumerate(needs):
        lines += _row("" if place else "plugins", _state(need))
    lines += _row("", pip_line(_to_install(needs)), wrap=False) if _to_install(needs) else []
    lines += _row("images", _images(config.spec.get("preprocess")))
    lines += _row("format", str(config.format))
    lines += _row("folder", str(folder), wrap=False)
    problem = _problem(config, folder)
    if problem:
        lines += ["", *textwrap.wrap(plain(f"It cannot be loaded here: {problem}"), width())]
        lines += ["", "Its settings, as they were saved:"]
    lines += ["", *(clip(plain(line), width()) for line in _settings(config, folder, bare=bool(problem)))]
    return "\n".join(lines)


def _settings(config: hub.Config, folder: Path, bare: bool) -> Iterator[str]:
    """Yield the settings, with their meanings where those who know them are installed."""
    yield from tree(config.spec) if bare else settings(hub.spec_of(config, folder))


def _problem(config: hub.Config, folder: Path) -> str:
    """Return why a model cannot be built here; nothing if it can."""
    try:
        hub.spec_of(config, folder)
    except ZooError as error:
        first = str(error).partition("\nit was saved with")[0]
        return "; ".join(first.removeprefix(f"{folder / hub.CONFIG}: ").splitlines())
    return ""


def _to_install(needs: list[Requirement]) -> list[Requirement]:
    return [need for need in needs if need.state in ("missing", "other version")]


def _state(need: Requirement) -> str:
    told = {
        "ok": "",
        "missing": ": not installed",
        "other version": f"; here it is {need.installed}",
        "broken": ": it does not load ('zoo-cli plugins' tells why)",
        "disabled": ": switched off by ZOO_PLUGINS",
    }
    return f"{need.distribution} {need.version}{told[need.state]}"


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(clip(name, LONGEST_NAME) for name in names[:MOST_NAMES])
    return f"{len(names)}: {shown}" + (f" and {len(names) - MOST_NAMES} more (--json)" if len(names) > MOST_NAMES else "")


def _images(preprocess: Any) -> str:
    """Return what is done to an image first, in a line."""
    if not isinstance(preprocess, Mapping):
        return "unknown"
    options = [f"{name}={text(value)}" for name, value in flat(preprocess) if name != "type"]
    return f"{preprocess.get('type')}: {', '.join(options)}"


def _row(label: str, said: str, wrap: bool = True) -> list[str]:
    """Return a line under its label, and those that it goes on in."""
    lines = textwrap.wrap(plain(said), max(width() - LABEL - 2, 20), break_on_hyphens=False) if wrap else [plain(said)]
    starts = [label, *[""] * len(lines)]
    return [f"  {start:<{LABEL}}{line}".rstrip() for start, line in zip(starts, lines, strict=False)]
