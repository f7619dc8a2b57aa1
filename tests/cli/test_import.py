"""`zoo-cli import`: a foreign file to a folder, what is printed, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo_core import hub


@pytest.fixture
def official(shared: Path) -> Path:
    return shared / "data" / "weights" / "yolov5n" / "yolov5n.pt"


@pytest.mark.shared
def test_a_checkpoint_becomes_a_model(cli, official, tmp_path) -> None:
    outcome = cli("import", official, "--out", tmp_path / "model")
    assert outcome.status == 0, outcome.err
    folder = tmp_path / "model"
    assert outcome.out.splitlines() == [
        f"{official} is now {folder}",
        "  network     yolov5n",
        "  classes     80: person, bicycle, car, motorcycle, airplane, bus, …",
        "  parameters  1,872,157",
        "next:",
        f"  zoo-cli eval {folder} --data PATH",
        f"  zoo-cli predict {folder} PICTURE.jpg",
    ]
    model = hub.load(folder)
    assert (model.recipe, model.class_names[0]) == ("yolov5n", "person")


@pytest.mark.shared
def test_the_same_as_json_with_other_names_in_the_usual_place(cli, official, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"thing {number}" for number in range(80)]
    Path("names.txt").write_text("\ufeff" + "\r\n".join(names) + "\n\n", encoding="utf-8")
    outcome = cli("import", official, "--names", "names.txt", "--json")
    assert json.loads(outcome.out) == {
        "file": str(official),
        "model": "models/yolov5n",
        "recipe": "yolov5n",
        "classes": 80,
        "class_names": names,
        "parameters": 1_872_157,
    }
    assert hub.load("models/yolov5n").class_names == tuple(names)


@pytest.mark.shared
def test_a_folder_with_other_things_in_it_stays_as_it_is(cli, official, tmp_path) -> None:
    (tmp_path / "a.txt").touch()
    outcome = cli("import", official, "--out", tmp_path)
    assert outcome.status == 2
    assert "holds other files (a.txt); save to a new or empty folder" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(("data", "ap", "ap50"), [("coco_tiny80", 0.3215, 0.4879), ("coco128_lightly", 0.3456, 0.5478)])
def test_the_published_accuracy(cli, official, shared, tmp_path, data, ap, ap50) -> None:
    """The figures are of YOLOv5's own network and suppression, images resized by OpenCV."""
    cli("import", official, "--out", tmp_path / "model")
    outcome = cli("eval", tmp_path / "model", "--data", shared / "data" / data, "--split", "val2017", "--json")
    found = json.loads(outcome.out)
    assert found["AP"] == pytest.approx(ap, abs=0.002)
    assert found["AP50"] == pytest.approx(ap50, abs=0.003)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.pt",), "missing.pt: no such file"),
        (("text.pt",), "text.pt is no file that can be imported. What the importers look for:\n"),
        (("folder",), "folder is a folder; give the file that is in it"),
        (("text.pt", "--names", "missing.txt"), "--names missing.txt cannot be read: No such file or directory"),
        (("text.pt", "--names", "empty.txt"), "--names empty.txt is empty; it has the name of a class on each line"),
        (("text.pt", "--names", "picture.txt"), "--names picture.txt is not a text file in UTF-8"),
        (("cut.pt",), "cut.pt is damaged or cut short"),
        (("cut.pt", "--cfg", "missing.cfg"), "missing.cfg: no such file"),
        ((), "the following arguments are required: FILE"),
    ],
)
def test_what_is_refused(cli, tmp_path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.pt").write_text("hello")
    Path("cut.pt").write_bytes(b"PK\x03\x04")
    Path("empty.txt").write_text("\n\n")
    Path("picture.txt").write_bytes(b"\xff\xd8\xff")
    Path("folder").mkdir()
    outcome = cli("import", *arguments)
    assert outcome.status == 2
    assert outcome.err.startswith(f"zoo-cli: error: {message}")
    assert outcome.out == ""
    assert not Path("runs").exists()
