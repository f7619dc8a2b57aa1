"""`zoo-cli import`: a foreign file to a folder, what is printed, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.plugins.rcnn.importers.foreign import mmdetection, random_detector
from zoo_core import hub
from zoo_core.build import build
from zoo_core.contributions import Component
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError
from zoo_core.importing import Importer, ImportRequest, import_model
from zoo_core.registry import contributed
from zoo_core.report import LoadReport
from zoo_core.specs import ComponentSpec

HEADS = ("classes.bias", "classes.weight", "deltas.bias", "deltas.weight")
TABLE = "remapped       348  348 × another name"


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
        "tensors:",
        TABLE,
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
    found = json.loads(outcome.out)
    report = found.pop("report")
    assert found == {
        "file": str(official),
        "model": "models/yolov5n",
        "recipe": "yolov5n",
        "classes": 80,
        "class_names": names,
        "parameters": 1_872_157,
    }
    assert sorted([*report["loaded"], *report["remapped"]]) == sorted(hub.load("models/yolov5n").state_dict())
    assert [report[fate] for fate in ("reinitialised", "missing", "unexpected", "classes")] == [{}, [], [], {}]
    assert hub.load("models/yolov5n").class_names == tuple(names)


@pytest.mark.shared
def test_a_folder_with_other_things_in_it_stays_as_it_is(cli, official, tmp_path) -> None:
    (tmp_path / "a.txt").touch()
    outcome = cli("import", official, "--out", tmp_path)
    assert outcome.status == 2
    assert "holds other files (a.txt); save to a new or empty folder" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a file of MMDetection with four classes; its name has a space."""
    monkeypatch.chdir(tmp_path)
    meta = {"CLASSES": ("person", "bicycle", "car", "truck")}
    torch.save({"meta": meta, "state_dict": mmdetection(random_detector(classes=4).state_dict())}, "faster rcnn.pth")
    return "faster rcnn.pth"


def test_other_classes_with_a_map(cli, foreign: str) -> None:
    there = {name: tensor.clone() for name, tensor in import_model(foreign).state_dict().items()}
    outcome = cli("import", foreign, "--classes", "Car,Pedestrian,Tram", "--map", "car=Car,person=Pedestrian", "--out", "x y")
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines() == [
        "faster rcnn.pth is now x y",
        "  network     faster_rcnn_r18_fpn",
        "  classes     3: Car, Pedestrian, Tram",
        "  parameters  11,223,631",
        "tensors:",
        "remapped       150  2 × 8 of 12 rows by class … and 2 more",
        "classes          2  new: Tram; Car from car; Pedestrian from person",
        "freshly initialised, so train first: what is for Tram",
        "next:",
        "  zoo-cli train 'x y' --data PATH",
    ]
    model = hub.load("x y")
    assert model.class_names == ("Car", "Pedestrian", "Tram")
    assert torch.equal(model.state_dict()["roi_head.classes.bias"][[0, 1, 3]], there["roi_head.classes.bias"][[2, 0, 4]])
    assert torch.equal(model.state_dict()["neck.output.4.weight"], there["neck.output.4.weight"])


def test_other_classes_without_a_map(cli, foreign: str) -> None:
    """None of them is in the file: nothing is silent."""
    outcome = cli("import", foreign, "--classes", "Car,Pedestrian", "--json")
    assert outcome.status == 0, outcome.err
    report = json.loads(outcome.out)["report"]
    assert sorted(report["reinitialised"]) == [f"roi_head.{part}" for part in HEADS]
    assert (report["classes"], report["alike"]) == ({"Car": None, "Pedestrian": None}, {"Car": "car"})
    text = cli("import", foreign, "--classes", "Car,Pedestrian", "--out", "other").out
    assert "almost the same names: map car=Car to go on from those classes\n" in text
    assert "freshly initialised, so train first: 4 tensors\nnext:\n  zoo-cli train other --data PATH\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_names_are_of_the_files_own_classes(cli, foreign: str) -> None:
    Path("names.txt").write_text("Pedestrian\nBike\nCar\nLorry\n")
    outcome = cli("import", foreign, "--names", "names.txt", "--classes", "Lorry,Car", "--json")
    assert json.loads(outcome.out)["report"]["classes"] == {"Lorry": "Lorry", "Car": "Car"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--classes", "Car", "--map", "cra=Car"),
            "class map cra=Car: the saved model has no class 'cra'; did you mean 'car'?",
        ),
        (("--classes", "Car", "--map", "car=Cra"), "this model has no class 'Cra'; did you mean 'Car'?"),
        (("--classes", "Car,Car"), "2 classes are named 'Car'"),
    ],
)
def test_classes_that_do_not_fit(cli, foreign: str, options: tuple[str, ...], message: str) -> None:
    outcome = cli("import", foreign, *options)
    assert (outcome.status, outcome.out, outcome.err.endswith(f"{message}\n")) == (2, "", True)
    assert not Path("models").exists()


class BackboneImporter(Importer):
    """Stands for one of files that hold a backbone alone."""

    looks_for = "a .body file"

    def __init__(self, spec: ComponentSpec) -> None:
        self.spec = spec

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".body"

    def read(self, request: ImportRequest) -> Detector:
        if request.like is None:
            raise CheckpointError(f"{request.path} holds a backbone alone; say with --recipe what it is for")
        detector = build(request.like)
        detector.recipe = request.recipe or ""
        state = detector.state_dict()
        state["backbone.body.conv1.weight"].fill_(0.25)
        detector.report = LoadReport(missing=[name for name in state if not name.startswith("backbone.")])
        return detector


class BackboneImporterSpec(ComponentSpec):
    type: str = "body"


def test_a_backbone_alone_is_for_a_recipe(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.body").write_text("weights")
    part = Component("importer", "body", f"{__name__}:BackboneImporterSpec", f"{__name__}:BackboneImporter")
    with contributed(part):
        assert cli("import", "x.body").err == (
            "zoo-cli: error: x.body holds a backbone alone; say with --recipe what it is for\n"
        )
        outcome = cli("import", "x.body", "--recipe", "faster_rcnn_r18_fpn", "--classes", "Car,Tram")
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[1:3] == ["  network     faster_rcnn_r18_fpn", "  classes     2: Car, Tram"]
    assert "freshly initialised, so train first: 30 tensors" in lines
    model = hub.load("models/x")
    assert model.class_names == ("Car", "Tram")
    assert bool((model.state_dict()["backbone.body.conv1.weight"] == 0.25).all())


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
        (("text.pt", "--map", "car=Car"), "--map says which classes of the file go on as which of the model: name all"),
        (("text.pt", "--classes", "a,,b"), "argument --classes: 'a,,b' has an empty name"),
        (("text.pt", "--recipe", "yolov5m6"), "no detector named 'yolov5m6'; did you mean 'yolov5m'?"),
        (("org/name",), "org/name: no such file"),
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
