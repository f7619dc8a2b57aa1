"""The model card: what the zoo writes, and what a user wrote and keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from zoo_core import card, hub, remote
from zoo_core.create import create
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError

pytestmark = pytest.mark.usefixtures("stubs")
PLUGINS = {"zoo-core": "0.1.0"}
EDITED = (
    "---\n# a comment\nlicense: mit   # chosen with care\ntags:\n- mine\nlist:\n  - 1\n\n  - 2\nlast: x\n---\n\nMy own words.\n"
)


@pytest.fixture
def model() -> Detector:
    torch.manual_seed(0)
    return create("plain_one_stage", class_names=("Car", "<b>_x_ | y"))


def data_of(text: str) -> dict[str, object]:
    return dict(yaml.safe_load(card.split(text)[0]))


def test_a_new_card(model: Detector) -> None:
    text = card.written(model, PLUGINS, "org/name")
    assert data_of(text) == {"library_name": "zoo", "pipeline_tag": "object-detection", "tags": ["zoo", "plain_one_stage"]}
    count = sum(parameter.numel() for parameter in model.parameters())
    assert f"`plain_one_stage`, {count:,} parameters, 2 classes." in text
    assert "Car, &lt;b&gt;\\_x\\_ \\| y\n" in text
    assert "pip install zoo-core==0.1.0\n" in text
    assert not card.handwritten(text)


def test_the_snippet_runs(model: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48)).save("photo.jpg")
    model = create("plain_one_stage", class_names=("Car", "Pedestrian"))
    folder = hub.save(model, "my 'model'")
    (program,) = re.findall(r"```python\n(.*?)```", (folder / card.CARD).read_text(), re.DOTALL)
    exec(compile(program.replace("score=0.3", "score=0.0"), "card", "exec"), {})
    assert re.match(r"(Car|Pedestrian) 0\.\d+ \[\d+, \d+, \d+, \d+\]", capsys.readouterr().out)
    assert remote.load(folder).class_names == ("Car", "Pedestrian")


def test_a_card_that_the_zoo_wrote_is_written_anew(model: Detector) -> None:
    first = card.written(model, PLUGINS, "org/name")
    evaluation = {"data": "toy", "split": "val", "AP": 0.25, "AP50": 0.5, "voc_mAP50": 0.4, "APs": None, "images": 3}
    second = card.written(model, PLUGINS, "org/other", first.replace("\n", "\r\n"), {"evaluation": evaluation})
    assert "# other\n" in second
    assert "On toy, val:\n" in second
    assert "| AP | 0.2500 |\n| AP50 | 0.5000 |\n| voc\\_mAP50 | 0.4000 |\n" in second
    (index,) = data_of(second)["model-index"]  # type: ignore[misc]
    assert [metric["type"] for metric in index["results"][0]["metrics"]] == ["mAP", "mAP@0.5", "voc_mAP50"]
    assert index["results"][0]["dataset"] == {"name": "toy", "type": "toy", "split": "val"}
    third = card.written(model, PLUGINS, "org/other", second)
    assert third == second, "the figures stay, and nothing grows"


def test_what_a_user_wrote_stays_to_the_letter(model: Detector) -> None:
    text = card.written(model, PLUGINS, "org/name", EDITED)
    head, body = card.split(text)
    assert body == "\nMy own words.\n"
    assert head.startswith(
        "# a comment\nlicense: mit   # chosen with care\ntags:\n- mine\n- zoo\n- plain_one_stage\nlist:\n  - 1\n\n  - 2\n"
    )
    assert data_of(text) | {"license": "mit", "last": "x", "list": [1, 2]} == data_of(text)
    text = card.written(model, PLUGINS, "org/name", text, {"license": "apache-2.0", "tags": ["kitti"]})
    assert "license: apache-2.0\ntags:\n- mine\n- zoo\n- plain_one_stage\n- kitti\nlist:" in text
    assert card.written(model, PLUGINS, "org/name", text) == text
    plain = "No metadata,\r\nbut words.\r\n"
    assert card.split(card.written(model, PLUGINS, "org/name", plain))[1] == plain


@pytest.mark.parametrize(
    "head",
    [
        "{license: mit, tags: [mine]}\n",
        "'tags':\n  - mine\nlicense: mit",
        "? tags\n: - mine\n",
        "text: |\n  tags: no\n\n  more\n",
        "tags: mine\n",
    ],
)
def test_metadata_in_any_way_of_writing(model: Detector, head: str) -> None:
    before = yaml.safe_load(head)
    after = data_of(card.written(model, PLUGINS, "org/name", f"---\n{head}\n---\nWords.\n"))
    assert {key: value for key, value in after.items() if key in before and key != "tags"} == {
        key: value for key, value in before.items() if key != "tags"
    }
    assert after["tags"] == [*(["mine"] if "tags" in before else []), "zoo", "plain_one_stage"]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("a: [", "cannot be read; mend it"),
        ("a: b\n" * 20000, "too long"),
        ("- a", "must be lines of the form"),
        ("a: &x [1]\nb: *x", "refers to itself"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_metadata_that_cannot_be_read(model: Detector, head: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        card.written(model, PLUGINS, "org/name", f"---\n{head}\n---\nWords.\n")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"licence": "mit"}, "card: no entry 'licence'; did you mean 'license'"),
        ({"license": 5}, "card: license must be a text or a list of texts, not 5"),
        ({"tags": []}, "card: tags must be a text"),
        ({"evaluation": {"AP": float("nan")}}, "evaluation must hold figures"),
        ({"evaluation": 0.5}, "evaluation must hold figures"),
        ("mit", "card: what is known is a dict such as {'license': 'apache-2.0'}, not a str"),
    ],
)
def test_facts_that_are_none(model: Detector, facts: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        card.written(model, PLUGINS, "org/name", "", facts)


def test_saving_again_keeps_the_words_of_the_user(model: Detector, tmp_path: Path) -> None:
    model = create("plain_one_stage", class_names=("Car",))
    folder = hub.save(model, tmp_path / "saved")
    readme = folder / card.CARD
    first = readme.read_bytes()
    hub.save(model, folder)
    assert readme.read_bytes() == first
    readme.write_text(EDITED)
    hub.save(model, folder)
    assert readme.read_text().endswith("---\n\nMy own words.\n")
    readme.write_bytes(b"\xff\xfe words")
    with pytest.raises(CheckpointError, match="is not a text in UTF-8, and would be lost"):
        hub.save(model, folder)
    assert readme.read_bytes() == b"\xff\xfe words"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_figures_come_without_the_paths_of_a_machine(model: Detector) -> None:
    facts = {"evaluation": {"AP": 0.5, "data": ["/home/me/kitti"], "split": "/home/me/val.txt"}}
    text = card.written(model, {}, "org/name", facts=facts)
    assert "split: val.txt" in text
    assert "/home" not in text
