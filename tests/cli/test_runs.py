"""zoo-cli train, eval and predict, one after the other, on the drawn data set."""

from __future__ import annotations

import json
import os
import signal
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from zoo_cli.commands import train
from zoo_cli.commands.train import Beginning
from zoo_cli.main import main
from zoo_core.contributions import load_reference
from zoo_core.engine import train as engine
from zoo_core.engine.specs import TrainSpec

RECIPE = "faster_rcnn_mobilenetv2_fpn"
SMALL = ("--set", "preprocess.short_side=64", "--set", "preprocess.long_side=64", "--workers", "0", "--device", "cpu")
TRAIN = ("train", RECIPE, "--data", "toy", "--batch-size", "1", *SMALL)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    assert main([*TRAIN, "--steps", "2", "--set", "train.clip=10", "--set", "neck.width=32", "--out", str(out)]) == 0
    return out


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (80, 60), (90, 120, 150)).save(path)
    return path


def test_a_run_says_where_it_went(cli, tmp_path) -> None:
    outcome = cli(*TRAIN, "--steps", "1", "--out", tmp_path / "run")
    assert outcome.status == 0
    assert outcome.out == f"trained: {tmp_path}/run/step-0000001\n"
    assert "toy train: 128 images" in outcome.err
    assert "3 classes (circle, square, triangle); 1 step of 1\n" in outcome.err
    assert "train 1/1  loss " in outcome.err


def test_a_run_that_never_leaves_its_warm_up_is_told(cli, tmp_path) -> None:
    outcome = cli(*TRAIN, "--steps", "1", "--set", "train.warmup_steps=1", "--out", tmp_path / "run")
    assert "the run ends before the rate has climbed, which takes 1 steps" in outcome.err


def test_settings_and_options_arrive(trained) -> None:
    config = json.loads((trained / "step-0000002/config.json").read_text(encoding="utf-8"))
    state = json.loads((trained / "step-0000002/training.json").read_text(encoding="utf-8"))
    assert config["spec"]["neck"]["width"] == 32
    assert config["spec"]["preprocess"]["short_side"] == 64
    assert config["class_names"] == ["circle", "square", "triangle"]
    assert state["options"]["clip"] == 10
    assert state["options"]["batch_size"] == 1
    assert state["options"]["workers"] == 0


def test_a_run_begins_with_the_weights_of_another(cli, trained, tmp_path) -> None:
    """The classes by their names; a saved model is a recipe, too."""
    step = trained / "step-0000002"
    there = load_file(step / "model.safetensors")
    rest = ("--data", "toy", "--steps", "1", "--batch-size", "1", "--lr", "1e-9", "--workers", "0", "--device", "cpu")
    outcome = cli("train", step, *rest, "--classes", "square,circle", "--out", tmp_path / "two")
    assert outcome.status == 0, outcome.err
    report = json.loads((tmp_path / "two/load_report.json").read_text(encoding="utf-8"))
    assert report["classes"] == {"square": "square", "circle": "circle"}
    assert f"weights of {step}:\nloaded " in outcome.err
    assert "\nclasses          2  square; circle\n" in outcome.err
    found = load_file(tmp_path / "two/step-0000001/model.safetensors")
    torch.testing.assert_close(found["roi_head.classes.bias"], there["roi_head.classes.bias"][[1, 0, 3]])
    mapped = ("--weights", step, "--classes", "square,circle", "--map", "triangle=square", "--out", tmp_path / "map")
    narrow = ("--set", "neck.width=32", *SMALL)
    outcome = cli("train", RECIPE, *rest, *mapped, *narrow)
    assert outcome.status == 0, outcome.err
    found = load_file(tmp_path / "map/step-0000001/model.safetensors")
    torch.testing.assert_close(found["roi_head.classes.bias"], there["roi_head.classes.bias"][[2, 0, 3]])


def test_a_map_that_does_not_fit(cli, trained) -> None:
    assert "--map says which classes of a saved model" in cli(*TRAIN, "--map", "a=circle").err
    assert (
        "the saved model has no class 'cricle'; did you mean 'circle'?"
        in cli("train", trained, "--data", "toy", "--map", "cricle=circle", "--out", trained.parent / "none").err
    )
    assert (
        "the model has no class 'cricle'; did you mean 'circle'?"
        in cli("eval", trained, "--data", "toy", "--map", "cricle=circle").err
    )
    assert "'circle' is not of the form OLD=NEW" in cli("eval", trained, "--data", "toy", "--map", "circle").err
    assert "names a class twice" in cli("eval", trained, "--data", "toy", "--map", "a=b,a=c").err


def test_a_map_names_classes_otherwise_in_an_evaluation(cli, trained) -> None:
    """With two classes exchanged, the detections of one count for the other."""
    plain = json.loads(cli("eval", trained, "--data", "toy", "--json").out)
    turned = json.loads(cli("eval", trained, "--data", "toy", "--json", "--map", "circle=square,square=circle").out)
    counts, others = ([row["detections"] for row in found["per_class"]] for found in (plain, turned))
    assert [others[1], others[0], others[2]] == counts
    assert len(set(counts)) > 1


def test_an_evaluation_with_other_settings(cli, trained) -> None:
    def found(*arguments) -> int:
        return json.loads(cli("eval", trained, "--data", "toy", "--json", *arguments).out)["detections"]

    assert 0 < found("--set", "roi_head.most_detections=1") <= 32 < found()
    outcome = cli("eval", trained, "--data", "toy", "--set", "roi_head.most_detection=1")
    assert (outcome.status, "roi_head: no option 'most_detection'; did you mean 'most_detections'?" in outcome.err) == (2, True)


def test_a_prediction_with_other_settings(cli, trained, photo) -> None:
    found = cli("predict", trained, photo, "--score", "0", "--json", "--set", "roi_head.most_detections=2")
    assert len(json.loads(found.out)) == 2


def test_a_recipe_says_how_it_is_trained() -> None:
    parser = ArgumentParser()
    train.arguments(parser)
    published = load_reference("zoo_yolo.recipes:v5_training")()
    _, spec = train.checked(
        parser.parse_args(["yolov5n", "--data", "toy", "--lr", "0.5"]), Beginning("yolov5n", None, "yolov5n")
    )
    assert (spec.learning_rate, spec.momentum, spec.ema) == (0.5, published["momentum"], published["ema"])
    _, spec = train.checked(parser.parse_args([RECIPE, "--data", "toy"]), Beginning(RECIPE, None, RECIPE))
    assert spec == TrainSpec()


def test_a_run_is_not_overwritten_and_can_be_resumed(cli, trained) -> None:
    again = (*TRAIN, "--set", "train.clip=10", "--set", "neck.width=32", "--out", trained)
    assert "go on with --resume" in cli(*again, "--steps", "3").err
    outcome = cli(*again, "--steps", "3", "--resume")
    assert outcome.status == 0
    assert outcome.out.endswith("step-0000003\n")
    assert "train 3/3" in outcome.err


def test_all_mistakes_at_once_before_anything_is_read(cli) -> None:
    settings = ("neck.widht=3", "train.learning_rat=1", "train.momentum=2", "backbone=resnet19")
    outcome = cli("train", RECIPE, "--data", "nowhere", *(word for text in settings for word in ("--set", text)))
    assert outcome.status == 2
    assert "4 options do not fit" in outcome.err
    assert "train: no option 'learning_rat'; did you mean 'learning_rate'?" in outcome.err
    assert "train.momentum: input should be less than 1" in outcome.err
    assert "neck: no option 'widht'; did you mean 'width'?" in outcome.err
    assert "backbone: no backbone named 'resnet19'; did you mean 'resnet18'?" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "faster_rcn_r18_fpn", "--data", "toy"),
            "no detector named 'faster_rcn_r18_fpn'; did you mean 'faster_rcnn_r18_fpn'?",
        ),
        (("train", RECIPE, "--data", "nowhere"), "nowhere: there is no such folder; 'toy' is the embedded data set"),
        (("train", RECIPE, "--data", "toy", "--classes", "circel"), "no class 'circel' in this data; did you mean 'circle'?"),
        (("train", RECIPE, "--data", "toy", "--format", "cocoo"), "no data format named 'cocoo'; did you mean 'coco'?"),
        (("train", RECIPE, "--data", "toy", "--device", "gpu"), "no device 'gpu'; write cpu, cuda or cuda:1"),
        (("train", RECIPE, "--data", "toy", "--device", "meta"), "no device 'meta'; write cpu, cuda or cuda:1"),
        (("train", RECIPE, "--data", "toy", "--device", "xla"), "the device 'xla' cannot be used here ("),
        (("eval", "nowhere", "--data", "toy", "--device", "ipu:7"), "; leave out --device, or write --device cpu"),
        (("train", RECIPE, "--data", "toy", "--set", "train=3"), "train: expected train.OPTION=VALUE"),
        (
            ("train", RECIPE, "--data", "toy", "--set", "preprocess.long_side=32769"),
            "preprocess.long_side: input should be less than or equal to 32768",
        ),
        (
            ("train", RECIPE, "--data", "toy", "--set", "preprocess.short_side=32769"),
            "preprocess.short_side: input should be less than or equal to 32768",
        ),
        (
            ("train", RECIPE, "--data", "toy", "--set", "preprocess.pad_multiple=4097"),
            "preprocess.pad_multiple: input should be less than or equal to 4096",
        ),
        (("train", RECIPE, "--data", "toy", "--steps", "0"), "argument --steps: '0' is not a whole number above zero"),
        (("train", RECIPE, "--data", "toy", "--steps", "1", "--epochs", "1"), "not allowed with argument --steps"),
        (("train", RECIPE, "--data", "toy", "--lr", "-1"), "train.learning_rate: input should be greater than 0"),
        (("train", RECIPE, "--data", "toy", "--classes", "a,,b"), "argument --classes: 'a,,b' has an empty name"),
        (("eval", "nowhere", "--data", "toy"), "nowhere: no such folder"),
        (("eval", "nowhere", "--data", "toy", "--results", "."), "--results . is a folder"),
        (("predict", "nowhere"), "give pictures, or a data set with --data: one of the two"),
        (("predict", "nowhere", "a.jpg", "--data", "toy"), "one of the two, not both"),
        (("predict", "nowhere", "a.jpg", "--score", "30"), "argument --score: '30' is not a number from 0 to 1"),
        (("predict", "nowhere", "nopicture.jpg"), "nopicture.jpg: there is no such picture or folder"),
    ],
)
def test_mistakes(cli, tmp_path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert message in outcome.err
    assert outcome.err.count("zoo-cli: error:") == 1
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


def test_a_part_that_leaves_the_program_is_a_part_that_fails(cli, monkeypatch, tmp_path) -> None:
    def leave(*_: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("zoo_core.detectors.preprocess.KeepRatio.__init__", leave)
    outcome = cli(*TRAIN, "--steps", "1", "--out", tmp_path / "run")
    assert outcome.status == 2
    assert "zoo-cli: error: preprocess 'keep_ratio' cannot be built with these options: SystemExit: 0\n" in outcome.err


def test_a_cuda_device_that_is_not_there_is_told(cli, monkeypatch, tmp_path) -> None:
    import torch

    def empty(*_: object, device: str) -> None:
        raise torch.AcceleratorError("CUDA error: invalid device ordinal\nGPU device may be out of range")

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.chdir(tmp_path)
    assert cli("train", RECIPE, "--data", "toy", "--device", "cuda:7").err == (
        "zoo-cli: error: the device 'cuda:7' cannot be used here (CUDA error: invalid device ordinal); "
        "leave out --device, or write --device cpu\n"
    )


@pytest.mark.parametrize(("rank", "talks"), [("0", True), ("1", False)])
def test_of_several_processes_one_talks(cli, monkeypatch, tmp_path, rank, talks) -> None:
    def trained(model: object, data: object, spec: object, out: Path, *, on_step: Callable, **_: object) -> Path:
        on_step(engine.Step(1, 1, 0, {}, 1.0, 0.1, 1.0, 0))
        return out / "step-0000001"

    monkeypatch.setattr(engine, "train", trained)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", rank)
    outcome = cli(*TRAIN, "--epochs", "1", "--out", tmp_path / "run")
    assert (outcome.status, bool(outcome.out), bool(outcome.err)) == (0, talks, talks)
    assert ("32 steps of 1 images in each of 4 processes" in outcome.err) == talks


LINE = "Car 0.00 0 1.55 10 20 {} 50 1 1 1 1 1 1 0\n"


def test_bad_boxes_are_left_out_on_demand_wherever_data_is_read(cli, trained, tmp_path, monkeypatch) -> None:
    for folder in ("image_2", "label_2"):
        (tmp_path / "kitti/training" / folder).mkdir(parents=True)
    Image.new("RGB", (80, 60)).save(tmp_path / "kitti/training/image_2/a.png")
    (tmp_path / "kitti/training/label_2/a.txt").write_text(LINE.format(60) + LINE.format(10))
    monkeypatch.setattr(engine, "train", lambda model, data, spec, out, **_: out)
    data = ("--data", tmp_path / "kitti", "--split", "train", "--device", "cpu")
    runs = (("train", RECIPE), ("predict", trained, "--json"))
    for command in runs:
        assert "leave such boxes out (--skip-bad)" in cli(*command, *data).err
        outcome = cli(*command, *data, "--skip-bad")
        assert outcome.status == 0
        assert "zoo-cli: left out 1 that cannot be used, such as\n" in outcome.err
    assert cli("train", RECIPE, *data, "--set", "train.skip_bad=true").status == 0
    outcome = cli("eval", trained, *data, "--skip-bad")
    assert "zoo-cli: left out 1 that cannot be used" in outcome.err
    assert "the model and the data have no class in common" in outcome.err, "which the reading comes before"


def test_an_interrupt_ends_the_run_with_the_step(cli, tmp_path, monkeypatch) -> None:
    out, rate_at = tmp_path / "run", engine.rate_at

    def press(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return rate_at(*arguments)

    monkeypatch.setattr(engine, "rate_at", press)
    outcome = cli(*TRAIN, "--steps", "5", "--out", out)
    assert outcome.status == 130
    assert outcome.err.endswith(f"zoo-cli: interrupted; go on from {out}/step-0000001 with the same command and --resume\n")
    monkeypatch.setattr(engine, "rate_at", rate_at)
    assert cli(*TRAIN, "--steps", "2", "--out", out, "--resume").out.endswith("step-0000002\n")


def test_a_second_interrupt_ends_the_run_at_once(cli, tmp_path, monkeypatch) -> None:
    def press_twice(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(engine, "rate_at", press_twice)
    outcome = cli(*TRAIN, "--steps", "5", "--out", tmp_path / "run")
    assert outcome.status == 130
    assert outcome.err.endswith("zoo-cli: interrupted; nothing was learnt yet\n")


def test_figures_as_text(cli, trained) -> None:
    outcome = cli("eval", trained, "--data", "toy", "--workers", "0", "--device", "cpu")
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines[1:11]] == [
        *("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "voc_mAP50")
    ]
    assert lines[13].split()[0] == "circle"
    assert "32 images in " in outcome.out
    assert max(map(len, lines)) <= 80


def test_figures_as_json_and_results_in_a_file(cli, trained, tmp_path) -> None:
    results = tmp_path / "new" / "results.json"
    outcome = cli("eval", trained, "--data", "toy", "--batch-size", "8", "--workers", "0", "--json", "--results", results)
    figures = json.loads(outcome.out)
    assert {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "voc_mAP50"} <= set(figures)
    assert [row["name"] for row in figures["per_class"]] == ["circle", "square", "triangle"]
    assert (figures["images"], figures["data"], figures["split"]) == (32, "toy", "val")
    written = json.loads(results.read_text(encoding="utf-8"))
    assert len(written) == figures["detections"]


@pytest.mark.parametrize("name", ["config.json", "config.json/results.json", "locked/new/results.json"])
def test_results_that_cannot_be_written_are_told_before_anything_is_read(cli, tmp_path, monkeypatch, name) -> None:
    (tmp_path / "config.json").write_text('{"spec": []}', encoding="utf-8")
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked")
    outcome = cli("eval", "nowhere", "--data", "toy", "--results", tmp_path / name)
    assert outcome.status == 2
    assert outcome.err.startswith(f"zoo-cli: error: --results {tmp_path / name}")
    assert (tmp_path / "config.json").read_text(encoding="utf-8") == '{"spec": []}'


@pytest.mark.parametrize("text", ["", " [{}]"])
def test_results_may_be_replaced(cli, tmp_path, text) -> None:
    (tmp_path / "results.json").write_text(text, encoding="utf-8")
    outcome = cli("eval", "nowhere", "--data", "toy", "--results", tmp_path / "results.json")
    assert "nowhere: no such folder" in outcome.err


def test_pictures_are_drawn(cli: Callable, trained, photo, tmp_path) -> None:
    outcome = cli("predict", trained, photo, "--score", "0", "--out", tmp_path / "found")
    assert outcome.status == 0
    assert outcome.out.splitlines()[0].startswith(f"{photo}: ")
    assert outcome.out.splitlines()[-1] == f"drawn: 1 pictures in {tmp_path}/found/"
    assert [path.name for path in (tmp_path / "found").iterdir()] == ["photo.jpg"]
    with Image.open(tmp_path / "found/photo.jpg") as drawn:
        assert drawn.size == (80, 60)


def test_pictures_as_json(cli, trained, photo, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli("predict", trained, "photo.jpg", "--score", "0", "--json")
    records = json.loads(outcome.out)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"], "nothing is drawn unless --out is given"
    for record in records:
        assert set(record) == {"image", "file_name", "label", "name", "bbox", "score"}, "no number that is not the data's own"
        assert (record["image"], record["file_name"]) == (1, "photo.jpg")
        assert record["name"] == ("circle", "square", "triangle")[record["label"]]
        x, y, width, height = record["bbox"]
        assert 0 <= x <= x + width <= 80
        assert 0 <= y <= y + height <= 60


def test_a_damaged_picture_does_not_stop_the_others(cli, trained, photo, tmp_path) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(photo.read_bytes()[:200])
    outcome = cli("predict", trained, damaged, photo, "--out", tmp_path / "found")
    assert outcome.status == 2
    assert f"zoo-cli: error: {damaged}: the image cannot be read" in outcome.err
    assert [path.name for path in (tmp_path / "found").iterdir()] == ["photo.jpg"]


def test_a_picture_that_cannot_be_written_does_not_stop_the_others(cli, trained, photo, tmp_path) -> None:
    long = tmp_path / f"{'x' * 251}.jpg"  # as long as a name may be, so that none is left for the temporary file
    long.write_bytes(photo.read_bytes())
    (tmp_path / "found/taken.jpg").mkdir(parents=True)
    taken = tmp_path / "taken.jpg"
    taken.write_bytes(photo.read_bytes())
    outcome = cli("predict", trained, long, taken, photo, "--score", "0", "--out", tmp_path / "found")
    assert outcome.status == 2
    told = outcome.err.splitlines()[-2:]
    assert [line.rpartition(": ")[0] for line in told] == [
        f"zoo-cli: error: {tmp_path}/found/{path.name}" for path in (long, taken)
    ]
    assert outcome.out.splitlines()[-1] == f"drawn: 1 pictures in {tmp_path}/found/"
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["photo.jpg", "taken.jpg"]


def test_pictures_of_a_data_set(cli, trained, tmp_path) -> None:
    outcome = cli("predict", trained, "--data", "toy", "--limit", "2", "--out", tmp_path / "found")
    assert outcome.status == 0
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["1.png", "2.png"]
