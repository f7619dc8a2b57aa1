"""What the pages say is so: generated parts are fresh, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("examples/*/*.md"))]


def test_generated_pages_are_fresh() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [name for name, text in generate.pages().items() if (ROOT / "docs" / name).read_text(encoding="utf-8") != text]
    assert not stale, f"run `make docs`: {stale}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL))
    dead = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not dead


def test_commands_in_pages_exist() -> None:
    from zoo_cli.main import BUILT_IN

    known = {command.name for command in BUILT_IN} | {"COMMAND", "help", "…"}
    said = {word for page in PAGES for word in re.findall(r"zoo-cli ([a-z]\w+)", page.read_text(encoding="utf-8"))}
    assert said - known <= {"count"}, "a page names a command that is not there"


def test_the_readme_counts_the_parameters_right() -> None:
    import torch

    import zoo

    table = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in table if name in zoo.list_models()] == [name for name, _ in table]
    with torch.device("meta"):
        models = {name: zoo.create(name, num_classes=80) for name, _ in table}
    counted = {name: f"{sum(p.numel() for p in model.parameters()):,}" for name, model in models.items()}
    assert len(table) >= 5
    assert counted == dict(table)


def test_training_from_python_works_as_told(tmp_path, monkeypatch, capsys) -> None:
    page = (ROOT / "docs" / "train_from_python.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    for told, tiny in (("steps=400", "steps=2"), ("batch_size=8", "batch_size=1"), ("val=32", "val=2")):
        assert told in program
        program = program.replace(told, tiny)
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    exec(compile(program, "train_from_python.md", "exec"), known)
    assert "AP50" in capsys.readouterr().out
    assert (tmp_path / "runs/toy/step-0000002/model.safetensors").is_file()
    assert (tmp_path / "models/toy/model.safetensors").is_file()
    assert isinstance(known["found"], list)
