"""zoo-cli train with weights of all kinds: a file of another project, a folder, the Hub, a tag; eval and predict of the Hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.hub.server import Hub
from tests.plugins.rcnn.importers.foreign import mmdetection, random_detector
from zoo_cli.main import main
from zoo_core import hub
from zoo_core.contributions import Recipe
from zoo_core.create import create
from zoo_core.importing import import_model
from zoo_core.push import push
from zoo_core.registry import contributed

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the client's own code

LINE = "{} 0.00 0 1.55 {} 20 {} 50 1 1 1 1 1 1 0\n"
COCO = ("person", "bicycle", "car", "truck")
KITTI = ("Car", "Pedestrian", "Cyclist")
MAP = "car=Car,person=Pedestrian"
QUICK = ("--steps", "2", "--batch-size", "1", "--lr", "1e-9", "--workers", "0", "--device", "cpu")
SMALL = ("--set", "preprocess.short_side=64", "--set", "preprocess.long_side=64")
OF_FILE = ("--set", "neck.width=16", "--set", "roi_head.width=24")
ALL = {"loaded", "remapped", "reinitialised", "missing", "unexpected", "classes", "alike", "settings"}
HEADS = {f"roi_head.{part}.{leaf}" for part in ("classes", "deltas") for leaf in ("weight", "bias")}


@pytest.fixture
def kitti(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a little of KITTI, with her three classes; go to its folder."""
    monkeypatch.chdir(tmp_path)
    for folder in ("image_2", "label_2"):
        (tmp_path / "kitti/training" / folder).mkdir(parents=True)
    Image.new("RGB", (80, 60), (90, 120, 150)).save(tmp_path / "kitti/training/image_2/a.png")
    labels = [LINE.format(name, 5 + 20 * k, 25 + 20 * k) for k, name in enumerate(KITTI)]
    (tmp_path / "kitti/training/label_2/a.txt").write_text("".join(labels))
    for split in ("train", "val"):
        (tmp_path / f"kitti/{split}.txt").write_text("a\n")
    return Path("kitti")


def written(path: Path, weights: dict[str, torch.Tensor], names: tuple[str, ...]) -> Path:
    torch.save({"meta": {"CLASSES": names, "epoch": 12}, "state_dict": weights}, path)
    return path


@pytest.fixture
def foreign(kitti: Path) -> Path:
    return written(Path("faster_rcnn.pth"), mmdetection(random_detector(classes=4).state_dict()), COCO)


def account(report: dict[str, object], out: Path) -> set[str]:
    """Check that a report tells of each tensor of the model once, and return those that were not loaded."""
    names = [name for fate in ("loaded", "remapped", "reinitialised", "missing") for name in report[fate]]  # type: ignore[attr-defined]
    assert set(report) == ALL
    assert sorted(names) == sorted(load_file(out / "step-0000002/model.safetensors"))
    return {*report["reinitialised"], *report["missing"]}  # type: ignore[misc]


def test_a_run_from_a_file_of_another_project(cli, kitti: Path, foreign: Path) -> None:
    """The way of the person of the notes: her file, her classes, and nothing of it silent."""
    there = import_model(foreign).state_dict()
    out = Path("runs/faster_rcnn_r18_fpn")
    run = ("train", "faster_rcnn_r18_fpn", "--weights", foreign, "--data", kitti, *QUICK, *SMALL, *OF_FILE)
    outcome = cli(*run, "--map", MAP)
    assert outcome.status == 0, outcome.err
    lines = outcome.err.splitlines()
    start = lines.index(f"weights of {foreign}:")
    assert lines[start + 1 : start + 5] == [
        "remapped       150  2 × 8 of 12 rows by class … and 2 more",
        "classes          2  new: Cyclist; Car from car; Pedestrian from person",
        "settings         2  preprocess.long_side: 1333 in the file, 64 here … and 1 more",
        f"tensor by tensor: {out}/load_report.json",
    ]
    assert max(map(len, lines[start : start + 5])) <= 80
    report = json.loads((out / "load_report.json").read_text(encoding="utf-8"))
    assert account(report, out) == set()
    assert report["classes"] == {"Car": "car", "Cyclist": None, "Pedestrian": "person"}
    assert report["remapped"]["roi_head.classes.bias"].endswith("3 of 4 rows by class")
    found = load_file(out / "step-0000002/model.safetensors")
    torch.testing.assert_close(found["roi_head.classes.bias"][[0, 1, 3]], there["roi_head.classes.bias"][[2, 0, 4]])

    before = (out / "load_report.json").read_bytes()
    assert "go on with --resume" in cli(*run).err, "without the map, which would be another report"
    longer = tuple("3" if word == "2" else word for word in run)
    outcome = cli(*longer, "--map", MAP, "--resume")
    assert outcome.out == f"trained: {out}/step-0000003\n", outcome.err
    assert "tensor by tensor" not in outcome.err, "that was told when the run began"
    assert (out / "load_report.json").read_bytes() == before
    assert hub.locate(out).name == "step-0000003"


def test_without_a_map_the_four_tensors_of_the_notes_are_told(cli, kitti: Path, foreign: Path) -> None:
    run = ("train", "faster_rcnn_r18_fpn", "--weights", foreign, "--data", kitti, *QUICK, *SMALL, *OF_FILE)
    outcome = cli(*run, "--out", "runs/x")
    assert "reinitialised    4  roi_head.classes.weight: no class of the file … and 3 more\n" in outcome.err
    assert "almost the same names: map car=Car to go on from those classes\n" in outcome.err
    assert account(json.loads(Path("runs/x/load_report.json").read_text()), Path("runs/x")) == HEADS


@pytest.mark.slow
@pytest.mark.shared
def test_the_file_of_the_notes_itself(cli, kitti: Path, shared: Path) -> None:
    """faster_rcnn_r101_fpn_1x_coco, by its names and shapes."""
    record = json.loads((shared / "golden/mmdet/faster_rcnn_r101_fpn_state_dict_keys.json").read_text())
    tensors = {
        key: torch.zeros(shape, dtype=torch.int64) if kind == "int64" else torch.full(shape, 1.0 if "var" in key else 1e-3)
        for key, shape, kind in record["keys"]
    }
    names = (*COCO, *(f"thing {number}" for number in range(76)))
    file = written(Path("faster_rcnn_r101_fpn_1x_coco_20200130-f513f705.pth"), tensors, names)
    run = ("train", "faster_rcnn_r101_fpn", "--data", kitti, "--weights", file, "--out", "runs/x", *QUICK, *SMALL)
    outcome = cli(*run, "--map", MAP)
    assert outcome.status == 0, outcome.err
    report = json.loads(Path("runs/x/load_report.json").read_text())
    assert account(report, Path("runs/x")) == set()
    assert [report["missing"], report["unexpected"], report["reinitialised"]] == [[], [], {}]
    assert report["classes"] == {"Car": "car", "Cyclist": None, "Pedestrian": "person"}
    assert cli(*run[:7], "runs/y", *run[8:]).status == 0
    assert account(json.loads(Path("runs/y/load_report.json").read_text()), Path("runs/y")) == HEADS


def test_no_report_of_an_earlier_attempt_is_left(cli, kitti: Path) -> None:
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/load_report.json").write_text("{}")
    outcome = cli("train", "faster_rcnn_mobilenetv2_fpn", "--data", kitti, *QUICK, *SMALL, "--out", "runs/x")
    assert outcome.status == 0, outcome.err
    assert not Path("runs/x/load_report.json").exists()


def test_weights_of_the_backbone_alone_are_told_too(cli, kitti: Path) -> None:
    recipe = "faster_rcnn_mobilenetv2_fpn"
    torch.save(create(recipe, num_classes=1).backbone.body.state_dict(), "backbone.pth")
    outcome = cli("train", recipe, "--data", kitti, *QUICK, *SMALL, "--set", "backbone.weights=backbone.pth", "--out", "runs/x")
    assert outcome.status == 0, outcome.err
    assert "\nweights of the backbone:\nremapped " in outcome.err
    fresh = account(json.loads(Path("runs/x/load_report.json").read_text()), Path("runs/x"))
    assert fresh
    assert not any(name.startswith("backbone.") for name in fresh)


@pytest.fixture
def pushed(server: Hub, kitti: Path) -> str:
    push(create("faster_rcnn_mobilenetv2_fpn", class_names=("Car", "Dog"), neck={"width": 32}), "org/first")
    server.repos["org/first"].tags["v1"] = server.repos["org/first"].branches["main"]
    return "org/first"


@pytest.mark.parametrize("named", ["org/first", "org/first@v1", "folder", "tag"])
def test_weights_from_the_hub_from_a_folder_and_by_tag(cli, server: Hub, kitti: Path, pushed: str, named: str) -> None:
    recipe = "faster_rcnn_mobilenetv2_fpn"
    if named == "folder":
        assert main(["pull", pushed, "--out", "folder"]) == 0
    tagged = Recipe("detector", "tagged", f"zoo_rcnn.recipes:{recipe}", weights={"tag": "org/first@v1"})
    with contributed(tagged):
        outcome = cli("train", "tagged", "--weights", named, "--data", kitti, *QUICK, *SMALL, "--set", "neck.width=32")
    assert outcome.status == 0, outcome.err
    assert f"weights of {named}:\n" in outcome.err
    report = json.loads(Path("runs/tagged/load_report.json").read_text())
    assert account(report, Path("runs/tagged")) == set()
    assert report["classes"] == {"Car": "Car", "Cyclist": None, "Pedestrian": None}


def test_a_model_of_the_hub_is_a_recipe_too(cli, server: Hub, kitti: Path, pushed: str) -> None:
    outcome = cli("train", pushed, "--data", kitti, *QUICK, *SMALL)
    assert outcome.status == 0, outcome.err
    assert outcome.out == "trained: runs/org-first/step-0000002\n"
    config = hub.read_config(Path("runs/org-first/step-0000002"))
    assert (config.recipe, config.spec["neck"]["width"]) == ("faster_rcnn_mobilenetv2_fpn", 32)
    assert config.class_names == KITTI
    report = json.loads(Path("runs/org-first/load_report.json").read_text())
    assert report["classes"] == {"Car": "Car", "Cyclist": None, "Pedestrian": None}
    server.stop()
    outcome = cli("train", pushed, "--data", kitti, *QUICK, *SMALL, "--out", "runs/offline")
    assert outcome.status == 0, outcome.err


def test_eval_and_predict_take_models_of_the_hub(cli, server: Hub, kitti: Path, pushed: str) -> None:
    figures = cli("eval", f"{pushed}@v1", "--data", kitti, "--workers", "0", "--device", "cpu", "--json", *SMALL)
    assert figures.status == 0, figures.err
    assert json.loads(figures.out)["model"] == "org/first@v1"
    found = cli("predict", pushed, "kitti/training/image_2/a.png", "--score", "0", "--json", "--device", "cpu", *SMALL)
    assert found.status == 0, found.err
    assert {record["name"] for record in json.loads(found.out)} <= {"Car", "Dog"}
    server.stop()
    again = cli("predict", pushed, "kitti/training/image_2/a.png", "--score", "0", "--json", "--device", "cpu", *SMALL)
    assert again.out == found.out
    assert "is taken from the cache" in again.err or again.status == 0
    for command in ("eval", "predict"):
        outcome = cli(command, "org/absent", "--data", kitti)
        assert outcome.status == 2
        assert "org/absent is not in the cache" in outcome.err


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        (
            "yolov5n",
            ("--weights", "coco"),
            "'coco' is no tag of weights of 'yolov5n', and no folder or file ('yolov5n' has no tags)",
        ),
        ("yolov5n", ("--weights", "a.pth"), "a.pth: no such file"),
        ("yolov5n", ("--weights", "a/b.pth"), "a/b.pth: no such file"),
        ("yolov5n", ("--weights", "org/absent"), "no repository 'org/absent' on http://127.0.0.1"),
        ("yolov5n", ("--weights", "org/first@v2"), "org/first has no revision 'v2'"),
        ("yolov5n", ("--weights", "org/first"), "is of another network"),
        ("yolov5n", ("--weights", "kitti"), "kitti holds no model: config.json is missing"),
        ("yolov5n", ("--weights", "kitti/val.txt"), "kitti/val.txt is no file that can be imported"),
        ("yolov5n", ("--weights", ""), ". holds no model"),
        ("yolov5n", ("--weights", "\x1b[2J.pth"), "\\x1b[2J.pth: no such file"),
        ("yolov5n", ("--map", "a=b"), "--map says which classes of a saved model are which here; name that model with"),
        ("org/first", ("--weights", "coco"), "'coco' is no tag of weights of this detector, and no folder or file"),
        ("org/first", ("--map", "dog=Car"), "the saved model has no class 'dog'; did you mean 'Dog'?"),
        ("org/frist", (), "no detector named 'org/frist'"),
        ("org/frist", (), "no repository 'org/frist' on http://127.0.0.1"),
        ("zoo-yolo/yolov5", (), "no detector named 'zoo-yolo/yolov5'"),
        ("kitti/val.txt", (), "kitti/val.txt is a file; name a recipe, and the file with --weights"),
        ("kitti", (), "kitti holds no model: config.json is missing"),
        ("./nothing", (), "nothing: no such folder"),
    ],
)
def test_what_is_refused(
    cli, server: Hub, kitti: Path, pushed: str, recipe: str, options: tuple[str, ...], message: str
) -> None:
    outcome = cli("train", recipe, "--data", kitti, *QUICK, *options)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("zoo-cli: error:") == 1
    assert not Path("runs").exists()
