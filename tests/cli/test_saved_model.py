"""zoo-cli show of a saved model: in a folder, on the Hub, and with plugins that are not here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hub.server import Hub
from zoo_core import hub
from zoo_core.create import create

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the client's own code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return hub.save(create("faster_rcnn_r18_fpn", class_names=("Car", "Pedestrian")), "runs/first")


def changed(folder: Path, old: str, new: str) -> None:
    path = folder / hub.CONFIG
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_folder_in_words(cli, folder: Path) -> None:
    outcome = cli("show", folder)
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[:14] == [
        "runs/first: a saved model",
        "  recipe     faster_rcnn_r18_fpn",
        "  classes    2: Car, Pedestrian",
        "  plugins    zoo-core 0.1.0",
        "             zoo-fpn 0.1.0",
        "             zoo-rcnn 0.1.0",
        "             zoo-timm 0.1.0",
        "  images     keep_ratio: mean=[123.675, 116.28, 103.53], std=[58.395, 57.12,",
        "             57.375], antialias=false, whole_levels=true, long_side=1333,",
        "             short_side=800, rounding=nearest, pad_multiple=32, pad_value=null,",
        "             centred=false",
        "  format     1",
        "  folder     runs/first",
        "",
    ]
    recipe = cli("show", "faster_rcnn_r18_fpn").out
    tree = [line for line in lines[14:] if "num_classes" not in line]
    assert tree
    assert all(line in recipe for line in tree), "the settings as those of a recipe, with their meanings"
    assert max(map(len, lines)) <= 80


def test_many_classes_are_told_in_as_many_lines_as_they_need(cli, folder: Path) -> None:
    path = folder / hub.CONFIG
    content = json.loads(path.read_text(encoding="utf-8"))
    content["class_names"] = [f"class number {k}" for k in range(150)]
    content["spec"]["num_classes"] = 150
    path.write_text(json.dumps(content), encoding="utf-8")
    lines = cli("show", folder).out.splitlines()
    told = " ".join(line.strip() for line in lines[2 : lines.index("  plugins    zoo-core 0.1.0")])
    assert told.startswith("classes    150: class number 0, class number 1,")
    assert told.endswith("class number 98, class number 99 and 50 more (--json)")
    assert max(map(len, lines)) <= 80


def test_a_folder_as_json(cli, folder: Path) -> None:
    found = json.loads(cli("show", folder, "--json").out)
    assert (found["kind"], found["recipe"], found["format"]) == ("model", "faster_rcnn_r18_fpn", 1)
    assert found["class_names"] == ["Car", "Pedestrian"]
    assert found["plugins"][1] == {"distribution": "zoo-fpn", "version": "0.1.0", "installed": "0.1.0", "state": "ok"}
    assert (found["pip"], found["problem"]) == ("", "")
    assert found["preprocess"] == found["spec"]["preprocess"]
    assert found["spec"]["neck"]["type"] == "fpn"


def test_a_plugin_that_is_missing_and_one_of_another_version(cli, folder: Path) -> None:
    """config.json alone is enough."""
    (folder / hub.WEIGHTS).unlink()
    changed(folder, '"zoo-fpn": "0.1.0"', '"zoo-neck": "0.3"')
    changed(folder, '"zoo-rcnn": "0.1.0"', '"zoo-rcnn": "9.9"')
    changed(folder, '"type": "fpn"', '"type": "special_neck"')
    outcome = cli("show", folder)
    assert outcome.status == 0, outcome.err
    assert "             zoo-rcnn 9.9; here it is 0.1.0\n" in outcome.out
    assert "             zoo-neck 0.3: not installed\n" in outcome.out
    assert "             pip install zoo-neck==0.3 zoo-rcnn==9.9\n" in outcome.out
    assert "It cannot be loaded here: neck: no neck named 'special_neck'" in outcome.out
    assert "\nneck:\n  type: special_neck\n" in outcome.out
    found = json.loads(cli("show", folder, "--json").out)
    assert found["pip"] == "pip install zoo-neck==0.3 zoo-rcnn==9.9"
    assert found["problem"].startswith("neck: no neck named 'special_neck'")
    assert [need["state"] for need in found["plugins"]] == ["ok", "missing", "other version", "ok"]


def test_what_a_stranger_wrote_is_not_obeyed_by_a_terminal(cli, folder: Path) -> None:
    changed(folder, '"Car"', '"\\u001b[2J"')
    changed(folder, '"recipe": "faster_rcnn_r18_fpn"', '"recipe": "\\u001b[1m"')
    changed(folder, '"type": "fpn"', '"type": "\\u001b[3m"')
    outcome = cli("show", folder)
    assert "classes    2: ?[2J, Pedestrian\n" in outcome.out
    assert "\x1b" not in outcome.out + outcome.err


@pytest.mark.parametrize("depth", [30, 300, 900])
def test_settings_without_a_bottom(cli, folder: Path, depth: int) -> None:
    inner: dict[str, object] = {}
    for _ in range(depth):
        inner = {"a": inner}
    changed(folder, '"num_classes": 2', f'"num_classes": 2, "extra": {json.dumps(inner)}')
    for more in ((), ("--json",)):
        outcome = cli("show", folder, *more)
        assert outcome.status == 0 or "nested too deeply" in outcome.err
        assert "Traceback" not in outcome.err


def test_of_a_model_on_the_hub_nothing_but_its_config_is_asked_for(cli, server: Hub, folder: Path) -> None:
    cli("push", folder, "org/first")
    server.repos["org/first"].tags["v1"] = server.repos["org/first"].branches["main"]
    server.log.clear()
    outcome = cli("show", "org/first")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("org/first: a saved model\n  recipe     faster_rcnn_r18_fpn\n")
    files = {said.rpartition("/")[2] for said in server.log if "/resolve/" in said}
    assert files == {"config.json"}
    (cached,) = (Path(json.loads(cli("show", "org/first@v1", "--json").out)["folder"])).iterdir()
    assert cached.name == "config.json"
    assert cli("show", "org/first", "--revision", "v1", "--endpoint", server.url).out.startswith("org/first@v1: a saved")
    server.stop()
    outcome = cli("show", "org/first")
    assert outcome.status == 0, outcome.err
    assert "classes    2: Car, Pedestrian\n" in outcome.out


def test_what_is_installed_goes_first_and_asks_nobody(cli, server: Hub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("show", "zoo-fpn/fpn").out.startswith("zoo-fpn/fpn: ")
    hub.save(create("yolov5n", num_classes=1), "fpn")
    hub.save(create("yolov5n", num_classes=1), "org/name")
    assert cli("show", "fpn").out.startswith("fpn: feature pyramid")
    assert cli("show", "./fpn").out.startswith("./fpn: a saved model")
    assert cli("show", "org/name").out.startswith("org/name: a saved model\n  recipe     yolov5n")
    assert "'fpn' is installed here; --revision is of a model on the Hub" in cli("show", "fpn", "--revision", "x").err
    assert server.log == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("zoo-fpn/fpm", ("installed is named 'zoo-fpn/fpm'; did you mean 'zoo-fpn/fpn'?", "no repository 'zoo-fpn/fpm'")),
        ("org/absent@v1", ("no repository 'org/absent' on http",)),
        ("runs/frist", ("nothing installed is named", "nor is there a folder of that name; did you mean 'runs/first'?")),
        ("./runs/frist", ("runs/frist: no such folder",)),
        ("runs", ("runs holds no model: config.json is missing",)),
        ("runs/first/config.json", ("is a file; a model is a folder",)),
        ("a b", ("nothing is named 'a b' (zoo-cli list shows all)",)),
        ("\x1b[2J/x", ("\\x1b[2J/x: no such folder",)),
        ("", ("nothing is named ''",)),
    ],
)  # fmt: skip
def test_names_of_nothing(cli, server: Hub, folder: Path, name: str, told: tuple[str, ...]) -> None:
    outcome = cli("show", name)
    assert outcome.status == 2
    assert all(text in outcome.err for text in told), outcome.err
    assert outcome.err.count("zoo-cli: error: ") == 1
    assert outcome.out == ""


def test_a_hub_that_cannot_be_reached_is_told_at_once(cli, server: Hub, folder: Path) -> None:
    nowhere = cli("show", "runs/frist", "--endpoint", "http://127.0.0.1:9")
    assert nowhere.err.endswith("cannot be reached; did you mean 'runs/first'?\n"), "a typing error in a folder's name"
    outcome = cli("show", "org/x", "--endpoint", "http://127.0.0.1:9")
    assert "nothing installed is named 'org/x'" in outcome.err
    assert "org/x is not in the cache" in outcome.err
    assert "http://127.0.0.1:9 cannot be reached" in outcome.err
