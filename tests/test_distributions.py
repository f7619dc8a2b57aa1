"""What all distributions of this repository have in common."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))


def value(project: Path, key: str) -> str:
    """Return a string of the table "project"; Python 3.10 has no reader of TOML."""
    found = re.search(rf'^{key} = "(.*)"$', (project / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{project.name} has no {key}"
    return found[1]


def test_versions_agree() -> None:
    import zoo

    assert {project.name: value(project, "version") for project in PLUGINS} == {p.name: zoo.__version__ for p in PLUGINS}
    assert value(ROOT, "version") == zoo.__version__
    assert f"## {zoo.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("project", PLUGINS, ids=lambda project: project.name)
def test_a_plugin_has_what_its_wheel_needs(project: Path) -> None:
    assert value(project, "name") == project.name
    assert (project / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert f"# {project.name}\n" in (project / value(project, "readme")).read_text(encoding="utf-8")
    assert 'license-files = ["LICENSE"]' in (project / "pyproject.toml").read_text(encoding="utf-8")
