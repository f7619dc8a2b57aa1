"""What is known of the weights of a detector: it travels with them, and says nothing of the machine."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from zoo_core import card, hub, provenance
from zoo_core.create import create
from zoo_core.data.open import open_data
from zoo_core.data.specs import ToySpec
from zoo_core.engine.checkpoint import checkpoints
from zoo_core.engine.specs import TrainSpec
from zoo_core.engine.train import train
from zoo_core.errors import CheckpointError
from zoo_core.importing import load_weights
from zoo_core.provenance import Data, Origin, Provenance

pytestmark = pytest.mark.usefixtures("stubs")
SPEC = TrainSpec(steps=1, batch_size=1, learning_rate=1e-6, workers=0, seed=5)
KNOWN = Provenance(
    step=7,
    processes=1,
    options={"seed": 3, "batch_size": 2, "milestones": [0.5, None]},
    data=Data(name="kitti", split="train", images=9, class_names=("Car",)),
    versions={"zoo-core": "0.1.0"},
    began=Origin(kind="hub", name="org/base", commit="a" * 40),
)


@pytest.fixture(scope="module")
def data():
    return open_data("toy", "train", format=ToySpec(train=2, val=1))


def told(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / provenance.FILE).read_text()))


def test_it_travels_with_the_model(tmp_path: Path) -> None:
    model = create("plain_one_stage", class_names=("Car",))
    model.provenance = KNOWN
    again = hub.load(hub.save(model, tmp_path / "first"))
    assert again.provenance is not None
    assert again.provenance.model_dump() == KNOWN.model_dump()
    hub.save(again, tmp_path / "second")
    assert (tmp_path / "first" / provenance.FILE).read_bytes() == (tmp_path / "second" / provenance.FILE).read_bytes()
    again.provenance = None
    hub.save(again, tmp_path / "second")
    assert not (tmp_path / "second" / provenance.FILE).exists(), "what is said of other weights"
    assert hub.load(tmp_path / "second").provenance is None


def test_the_card_shows_it(tmp_path: Path) -> None:
    model = create("plain_one_stage", class_names=("Car",))
    assert "Training" not in card.written(model, {}, "org/name")
    model.provenance = KNOWN
    text = card.written(model, {}, "org/name")
    assert (
        "## Training\n\n- data: kitti, train, 9 images\n- steps: 7\n- batch size: 2\n- seed: 3\n- versions: zoo-core 0.1.0\n"
        f"- began with: org/base on the Hub, commit {'a' * 40}\n" in text
    )
    assert "base_model: org/base\n" in text
    assert "base_model: org/mine\n" in card.written(model, {}, "org/name", "", {"base_model": "org/mine"})
    model.provenance = Provenance(began=Origin(kind="file", name="a_b.pth", sha256="0" * 64), options={"seed": "<b>\n# x"})
    assert f"## Training\n\n- began with: the file a\\_b.pth, sha256 {'0' * 64}\n" in card.written(model, {}, "org/name")


def test_training_says_on_what_and_from_where(data, tmp_path: Path) -> None:
    model = create("plain_one_stage", class_names=data.class_names)
    last = train(model, data, SPEC, tmp_path / "first", device="cpu")
    found = told(last)
    assert (found["step"], found["options"]["seed"], found["data"]["images"]) == (1, 5, 2)  # type: ignore[index]
    assert found["began"] == {"kind": "recipe", "name": "plain_one_stage", "commit": None, "sha256": None}
    assert model.provenance is not None
    assert (model.provenance.step, model.provenance.data) == (1, Data(**found["data"]))  # type: ignore[arg-type]
    hub.save(model, tmp_path / "saved")
    assert told(tmp_path / "saved") == {k: v for k, v in found.items() if k not in ("scaler", "updates", "began")} | {
        "began": {"kind": "recipe", "name": "plain_one_stage"}
    }, "without what resuming alone needs"
    hub.save(hub.load(tmp_path / "first"), tmp_path / "copy")
    assert told(tmp_path / "copy") == told(tmp_path / "saved")


def begun(model, data, out: Path) -> str:
    began = told(train(model, data, SPEC, out, device="cpu"))["began"]
    return f"{began['kind']} {began['name']}"  # type: ignore[index]


def test_training_goes_on_from_a_saved_model(data, tmp_path: Path) -> None:
    model = create("plain_one_stage", class_names=data.class_names)
    train(model, data, SPEC, tmp_path / "first", device="cpu")
    assert begun(model, data, tmp_path / "a") == "saved first"
    assert begun(hub.load(tmp_path / "first"), data, tmp_path / "b") == "saved first/step-0000001"
    other = create("plain_one_stage", class_names=data.class_names, weights=tmp_path / "first")
    assert other.provenance == Provenance(began=Origin(kind="saved", name="first/step-0000001"))
    hub.save(other, tmp_path / "other")
    assert begun(other, data, tmp_path / "c") == "saved first/step-0000001"
    third = create("plain_one_stage", class_names=data.class_names)
    load_weights(third, tmp_path / "other")
    assert begun(third, data, tmp_path / "d") == "saved other"


def test_a_resumed_run_began_where_it_began(data, tmp_path: Path) -> None:
    train(create("plain_one_stage", class_names=data.class_names), data, SPEC, tmp_path / "run", device="cpu")
    base = hub.save(create("plain_one_stage", class_names=data.class_names), tmp_path / "base")
    later = create("plain_one_stage", class_names=data.class_names, weights=base)
    last = train(later, data, SPEC.model_copy(update={"steps": 2}), tmp_path / "run", resume=True, device="cpu")
    assert told(last)["began"]["name"] == "plain_one_stage"  # type: ignore[index]
    assert later.provenance is not None
    assert later.provenance.began == Origin(kind="recipe", name="plain_one_stage")


def test_a_model_saved_among_checkpoints_is_none_and_stays(data, tmp_path: Path) -> None:
    model = create("plain_one_stage", class_names=data.class_names)
    train(model, data, SPEC, tmp_path, device="cpu")
    hub.save(model, tmp_path / "step-0000000")
    train(model, data, SPEC.model_copy(update={"steps": 3, "save_every": 1}), tmp_path, resume=True, device="cpu")
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000002", "step-0000003"]
    assert (tmp_path / "step-0000000").is_dir()


def test_no_path_of_the_machine_is_told(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pth").write_bytes(b"x")
    for name in (str(tmp_path / "kitti"), "../somebody/kitti"):
        named = dataclasses.replace(data, name=name)
        last = train(
            create("plain_one_stage", class_names=data.class_names), named, SPEC, tmp_path / f"run{len(name)}", device="cpu"
        )
        assert told(last)["data"]["name"] == "kitti"  # type: ignore[index]
    model = hub.load(last)
    model.provenance = Provenance(began=provenance.of_file(tmp_path / "weights.pth"))
    hub.save(model, tmp_path / "saved")
    figures = {"data": str(tmp_path / "kitti"), "AP": 0.5}
    texts = [path.read_text() for path in (tmp_path / "saved").iterdir() if path.suffix != ".safetensors"]
    texts += [card.written(model, {}, "org/name", "", {"evaluation": figures})]
    assert len(texts) == 4
    assert "name: kitti\n" in texts[-1]
    assert not [text for text in texts if str(tmp_path) in text]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("/home/me/kitti", "kitti"),
        ("~/kitti/", "kitti"),
        ("C:\\data\\kitti", "kitti"),
        ("\\\\server\\kitti", "kitti"),
        ("org/kitti", "org/kitti"),
        ("toy", "toy"),
        ("~x.pth", "~x.pth"),
    ],
)
def test_paths_are_told_by_their_last_part(name: str, short: str) -> None:
    assert Origin(kind="saved", name=name).name == short
    assert provenance.without_paths({"a": [name, 1, None], "b": {"c": name}}) == {"a": [short, 1, None], "b": {"c": short}}


def test_options_of_a_saved_model_hold_no_path(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the file of pretrained weights of a backbone. A run with one goes on all the same."""
    from zoo_core.specs import ComponentSpec

    model = create("plain_one_stage", class_names=data.class_names)
    genuine = ComponentSpec.model_dump
    path = str(tmp_path / "r50.pth")
    monkeypatch.setattr(ComponentSpec, "model_dump", lambda self, **how: genuine(self, **how) | {"from": path})
    last = train(model, data, SPEC, tmp_path / "run", device="cpu")
    spec = json.loads((last / hub.CONFIG).read_text())["spec"]
    assert spec["from"] == "r50.pth"
    config = last / hub.CONFIG
    config.write_text(config.read_text().replace('"r50.pth"', json.dumps(path)))  # as it was written before
    train(model, data, SPEC.model_copy(update={"steps": 2}), tmp_path / "run", resume=True, device="cpu")


def test_what_the_cache_of_the_hub_holds_is_named_by_its_commit(tmp_path: Path) -> None:
    sha = "0123456789" * 4
    folder = tmp_path / "models--org--my-name" / "snapshots" / sha
    assert provenance.of_folder(folder) == Origin(kind="hub", name="org/my-name", commit=sha)
    assert provenance.of_folder(folder.with_name("main")) == Origin(kind="saved", name="main")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not readable JSON"),
        (b"[" * 100_000, "is not readable JSON"),
        (b"\xff", "is not readable JSON"),
        (b" " * (2**20 + 1), "it is longer than 1048576 bytes"),
        (b"[]", "Input should be a valid dictionary"),
        (b'{"step": -1}', "step: Input should be greater than or equal to 0"),
        (b'{"step": "many"}', "step: Input should be a valid integer"),
        (b'{"data": {"name": 5}}', "data.name: Input should be a valid string"),
        (b'{"data": "/home/me"}', "data: Input should be a valid dictionary"),
        (b'{"versions": {"zoo": 5}}', "versions.zoo: Input should be a valid string"),
        (b'{"began": {"kind": "magic", "name": "x"}}', "began.kind: Input should be 'recipe', 'saved', 'hub' or 'file'"),
        (b'{"began": {"kind": "hub", "name": "x", "commit": "main"}}', "began.commit: String should match"),
        (b'{"options": {"a": ' + b"[" * 50 + b"]" * 50 + b"}}", "options: Value error, nested too deeply"),
    ],
)
def test_a_file_that_is_malformed_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    folder = hub.save(create("plain_one_stage"), tmp_path / "saved")
    path = folder / provenance.FILE
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{re.escape(str(path))}.*{re.escape(message)}"):
        hub.load(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="there is no such file"):
        hub.load(folder)


def test_what_is_said_beside_is_left_aside(tmp_path: Path) -> None:
    folder = hub.save(create("plain_one_stage"), tmp_path / "saved")
    more = {"of_later": 5, "_folder": {"kind": "hub", "name": "org/x"}, "scaler": "x", "data": None, "step": 3}
    (folder / provenance.FILE).write_text(json.dumps(more))
    found = hub.load(folder).provenance
    assert found is not None
    assert (found.step, found.origin) == (3, Origin(kind="saved", name="saved"))
    hub.save(hub.load(folder), tmp_path / "again")
    assert told(tmp_path / "again") == {"step": 3}


def test_a_model_of_another_version_of_a_plugin_says_which(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = hub.save(create("plain_one_stage"), tmp_path / "saved")
    with caplog.at_level(logging.WARNING):
        hub.load(folder)
    assert not caplog.messages
    config = json.loads((folder / hub.CONFIG).read_text())
    here, config["plugins"]["zoo-core"] = config["plugins"]["zoo-core"], "0.0.7"
    (folder / hub.CONFIG).write_text(json.dumps(config))
    with caplog.at_level(logging.WARNING):
        hub.load(folder)
    assert caplog.messages == [f"{folder} was saved with zoo-core 0.0.7 (here: {here})"]
    config["spec"]["head"]["of_then"] = 1
    (folder / hub.CONFIG).write_text(json.dumps(config))
    text = f"head: no option 'of_then'(.|\n)*\nit was saved with zoo-core 0.0.7 \\(here: {re.escape(here)}\\)$"
    with pytest.raises(CheckpointError, match=text):
        hub.load(folder)
