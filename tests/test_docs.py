"""What the pages say is so: generated parts are fresh, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
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
    from zoo_core.registry import entries

    table = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in table if name in zoo.list_models()] == [name for name, _ in table]
    with torch.device("meta"):
        models = {name: zoo.create(name, num_classes=80) for name, _ in table}
    counted = {name: f"{sum(p.numel() for p in model.parameters()):,}" for name, model in models.items()}
    ours = {path.name for path in (ROOT / "plugins").iterdir()}
    offered = {e.contribution.name for e in entries() if e.contribution.kind == "detector" and e.plugin.distribution in ours}
    assert set(counted) == offered
    assert counted == dict(table)


def programs(name: str) -> list[str]:
    """Return the Python of a page of docs/, block by block."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def told_commands(page: Path) -> list[list[str]]:
    """Return the words of each ``$ zoo-cli`` command of a page."""
    text = re.sub(r"\\\n", " ", page.read_text(encoding="utf-8"))
    return [shlex.split(line, comments=True) for line in re.findall(r"^ *\$ zoo-cli (.*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_have_the_options_that_they_name(page) -> None:
    from zoo_cli.commands import train
    from zoo_cli.main import BUILT_IN
    from zoo_cli.parser import Parser
    from zoo_core.registry import names

    modules = {command.name: importlib.import_module(command.module) for command in BUILT_IN}
    for name, *words in told_commands(page):
        parser = Parser(prog=f"zoo-cli {name}")
        modules[name].arguments(parser)
        args = parser.parse_args(words)  # exits if it takes no such option
        if name == "train" and args.recipe in names("detector") and "neck=weighted_sum" not in words:  # a tutorial's own
            train.checked(args, train.beginning(args))


def test_yolo_works_as_told(tmp_path, monkeypatch) -> None:
    import zoo

    monkeypatch.chdir(tmp_path)
    zoo.save(zoo.create("yolov5n", class_names=("person", "bicycle", "car")), "models/yolov5n")
    known: dict[str, object] = {}
    exec(compile("\n".join(programs("yolo.md")), "yolo.md", "exec"), known)
    assert known["model"].class_names == ("Car", "Pedestrian", "Cyclist")
    assert len(known["models"]) == 4


def test_the_importer_works_as_told(tmp_path) -> None:
    import torch

    import zoo
    from zoo_core.errors import CheckpointError
    from zoo_core.importing import ImportRequest

    (program,) = [text for text in programs("write_a_plugin.md") if "StateImporter" in text]
    known: dict[str, type] = {}
    exec(compile(program, "write_a_plugin.md", "exec"), known)
    importer, path = known["StateImporter"](None), tmp_path / "mine.pth"
    model = zoo.create("yolov5n", class_names=("a", "b"))
    torch.save({f"net.{name}": tensor for name, tensor in model.state_dict().items()}, path)
    assert importer.recognises(path)
    found = importer.read(ImportRequest(path, class_names=("a", "b")))
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert found.report.remapped["head.predict.8.bias"] == "from net.head.predict.8.bias"
    torch.save({"net.head.predict.8.bias": torch.zeros(21)}, path)
    with pytest.raises(CheckpointError, match="does not fit recipe 'yolov5n'"):
        importer.read(ImportRequest(path))


def test_training_from_python_works_as_told(tmp_path, monkeypatch, capsys) -> None:
    program = "\n".join(programs("train_from_python.md"))
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
