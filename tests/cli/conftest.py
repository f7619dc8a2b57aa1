"""Fixtures of the command line: running it in this process, and plugins made on the spot."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from zoo_cli.main import main
from zoo_core import plugins, registry


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Return a function that runs zoo-cli in 80 columns and returns what came of it."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("ZOO_DEBUG", raising=False)

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


def _forget() -> None:
    plugins.plugins.cache_clear()
    registry._index.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Return a function that installs a distribution with one plugin module of the given source."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def run(distribution: str, source: str) -> None:
        module = distribution.replace("-", "_") + "_plugin"
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{distribution.replace('-', '_')}-0.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.3\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[zoo.plugins]\nit = {module}\n", encoding="utf-8")
        made.append(module)
        _forget()

    yield run
    for module in made:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    _forget()
