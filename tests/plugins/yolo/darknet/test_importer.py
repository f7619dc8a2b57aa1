from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from tests.plugins.yolo.darknet.samples import TINY, TINY_VALUES, random_weights, resized, write_cfg
from zoo_core.errors import CheckpointError, DataError, InputError, UnknownNameError
from zoo_core.hub import load, save
from zoo_core.importing import import_model
from zoo_core.types import Detections
from zoo_yolo.darknet.network import read_network

SIGHT = torch.arange(3 * 40 * 30).remainder(251).to(torch.uint8).view(3, 40, 30)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return random_weights(write_cfg(tmp_path))


def same(a: Detections, b: Detections, tolerance: float = 0.0) -> None:
    assert len(a) == len(b) > 0
    assert torch.equal(a.labels, b.labels)
    torch.testing.assert_close(a.scores, b.scores, rtol=0, atol=tolerance / 100)
    torch.testing.assert_close(a.boxes, b.boxes, rtol=0, atol=tolerance)


def test_the_cfg_beside_it_is_found(file: Path) -> None:
    model = import_model(file)
    assert (model.recipe, model.class_names) == ("", ("class 0", "class 1"))
    assert not model.training
    assert model.spec.preprocess.model_dump() == {
        **{"type": "stretch", "height": 64, "width": 32, "antialias": False, "whole_levels": True},
        **{"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)},
    }
    head = model.spec.model_dump()["head"]
    assert (head["least_score"], head["nms_iou"], head["several_labels"]) == (0.005, 0.45, True)
    assert len(model.predict(SIGHT)[0]) > 0


def test_saved_it_is_the_same(tmp_path: Path, file: Path) -> None:
    model = import_model(file, class_names=("cat", "dog"))
    again = load(save(model, tmp_path / "model"))
    assert again.class_names == ("cat", "dog")
    same(again.predict(SIGHT)[0], model.predict(SIGHT)[0])


def test_a_cfg_elsewhere(tmp_path: Path, file: Path) -> None:
    cfg = tmp_path / "other" / "some.cfg"
    cfg.parent.mkdir()
    (tmp_path / "net.cfg").rename(cfg)
    with pytest.raises(CheckpointError, match=r"net.weights holds numbers alone, and there is no net.cfg beside it"):
        import_model(file)
    same(import_model(file, cfg=cfg).predict(SIGHT)[0], import_model(file, cfg=cfg).predict(SIGHT)[0])


def test_another_cfg_is_told_by_how_much(tmp_path: Path, file: Path) -> None:
    cfg = write_cfg(tmp_path, TINY.replace("filters=6", "filters=7"))
    with pytest.raises(CheckpointError, match=f"holds {TINY_VALUES} values, net.cfg needs {TINY_VALUES + 26}: 26 are missing"):
        import_model(file, cfg=cfg)


def test_a_cfg_that_is_not_understood(tmp_path: Path, file: Path) -> None:
    write_cfg(tmp_path, TINY.replace("[dropout]", "[dropin]"))
    with pytest.raises(DataError, match=r"net.cfg, line 36: no section \[dropin\]; did you mean 'dropout'\?"):
        import_model(file)


# Class names


def test_names_beside_it(tmp_path: Path, file: Path) -> None:
    (tmp_path / "some.names").write_text("cat\n hot dog \n\n")
    (tmp_path / "three.names").write_text("a\nb\nc\n")
    assert import_model(file).class_names == ("cat", "hot dog")
    (tmp_path / "more.names").write_text("a\nb")
    assert import_model(file).class_names == ("class 0", "class 1")  # which of both cannot be known
    (tmp_path / "net.names").write_text("x\ny")
    assert import_model(file).class_names == ("x", "y")
    assert import_model(file, class_names=("v", "w")).class_names == ("v", "w")


@pytest.mark.parametrize(
    ("names", "error", "told"),
    [
        ("a\nb\nc", DataError, "net.names: holds 3 names, the network has 2 classes"),
        ("", DataError, "net.names: holds 0 names"),
        ("a\na", InputError, "2 classes are named 'a'"),
    ],
)
def test_names_that_do_not_fit(tmp_path: Path, file: Path, names: str, error: type[Exception], told: str) -> None:
    (tmp_path / "net.names").write_text(names)
    with pytest.raises(error, match=told):
        import_model(file)


def test_names_that_cannot_be_meant(tmp_path: Path, file: Path) -> None:
    (tmp_path / "a.names").mkdir()
    os.mkfifo(tmp_path / "net.names")  # to open it would wait for ever
    (tmp_path / "twice.names").write_text("a\na")
    assert import_model(file).class_names == ("class 0", "class 1")


def test_given_names_that_do_not_fit(file: Path) -> None:
    with pytest.raises(InputError, match="2 classes need as many names, got 1: cat"):
        import_model(file, class_names=("cat",))


@pytest.mark.shared
def test_the_classes_of_coco_have_the_names_of_coco(shared: Path) -> None:
    names = import_model(shared / "data/weights/darknet/yolo-fastest-1.1.weights").class_names
    assert (names[0], names[3], names[58], names[62], names[79]) == ("person", "motorcycle", "potted plant", "tv", "toothbrush")


# Letterbox


def test_a_letterbox(tmp_path: Path) -> None:
    text = TINY.replace("channels=3", "letter_box=1").replace("height=64", "height=32")
    model = import_model(random_weights(write_cfg(tmp_path, text)))
    batch = model.preprocess([torch.zeros(3, 20, 40, dtype=torch.uint8), torch.zeros(3, 9, 5, dtype=torch.uint8)])
    assert (batch.padded, batch.sizes) == (((32, 32), (32, 32)), ((16, 32), (32, 17)))  # a part of a pixel is dropped
    assert float(batch.tensor[0, 0, 0, 0]) == 0.5


def test_a_letterbox_that_is_no_square(tmp_path: Path) -> None:
    cfg = write_cfg(tmp_path, TINY.replace("channels=3", "letter_box=1"))
    with pytest.raises(DataError, match=r"net\.cfg: letter_box=1 is supported with width equal to height only"):
        import_model(random_weights(cfg))


# Recipes


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "recipe"), [pytest.param("yolov4", "yolov4", marks=pytest.mark.slow), ("yolov4-tiny", "yolov4_tiny")]
)
def test_a_recipe_of_the_same_layers(tmp_path: Path, shared: Path, name: str, recipe: str) -> None:
    file = random_weights(resized(shared / f"data/weights/darknet/{name}.cfg", tmp_path, 96, 64))
    imported, own = import_model(file), import_model(file, recipe=recipe)
    assert own.recipe == recipe
    assert own.class_names == imported.class_names
    with torch.inference_mode():
        batch = imported.preprocess([SIGHT])
        same(imported.detect(batch)[0], own.detect(batch)[0], 1e-3)


@pytest.mark.shared
def test_the_number_of_classes_is_found_from_the_file(tmp_path: Path, shared: Path) -> None:
    source = shared / "data/weights/darknet/yolov4-tiny.cfg"
    text = source.read_text().replace("filters=255", "filters=24").replace("classes=80", "classes=3")
    cfg = write_cfg(tmp_path, text)
    file = random_weights(cfg)
    for options in ({}, {"cfg": cfg}, {"class_names": ("a", "b", "c")}):
        assert import_model(file, recipe="yolov4_tiny", **options).spec.num_classes == 3
    with pytest.raises(CheckpointError, match=r"recipe 'yolov4_tiny' with 2 classes needs .* are left over"):
        import_model(file, recipe="yolov4_tiny", class_names=("a", "b"))
    with file.open("ab") as more:
        more.write(b"\0" * 400)
    with pytest.raises(CheckpointError, match=r"recipe 'yolov4_tiny' needs .* values with one class and .* for each more"):
        import_model(file, recipe="yolov4_tiny")


@pytest.mark.shared
def test_a_recipe_takes_what_the_cfg_says_of_input_and_anchors(tmp_path: Path, shared: Path) -> None:
    text = resized(shared / "data/weights/darknet/yolov4-tiny.cfg", tmp_path, 96, 64).read_text()
    cfg = write_cfg(tmp_path, text.replace("10,14,  23,27,  37,58", "10,14,  20,20,  30,30").replace("1.05", "1.2"))
    file = random_weights(cfg)
    imported, own = import_model(file), import_model(file, cfg=cfg, recipe="yolov4_tiny")
    assert own.spec.preprocess == imported.spec.preprocess
    assert own.spec.model_dump()["head"] == imported.spec.model_dump()["head"]
    same(imported.predict(SIGHT)[0], own.predict(SIGHT)[0], 1e-3)
    with pytest.raises(CheckpointError, match=r"yolov4\.cfg needs 64,429,405"):
        import_model(file, cfg=shared / "data/weights/darknet/yolov4.cfg", recipe="yolov4_tiny")


def test_recipes_that_cannot_be(file: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'yolov4'"):
        import_model(file, recipe="yolo4")
    with pytest.raises(InputError, match="Darknet knows no order of the convolutions"):
        import_model(file, recipe="yolov5n")
    with pytest.raises(CheckpointError, match=f"holds {TINY_VALUES} values; recipe 'yolov4_tiny' needs"):
        import_model(file, recipe="yolov4_tiny")


def test_nothing_is_built_before_the_size_is_right(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_yolo.darknet.importer.build", None)
    text = (
        TINY.replace("filters=8", "filters=65536", 1)
        .replace("groups=4", "groups=1")
        .replace("[shortcut]\nfrom=-2", "[dropout]")
    )
    cfg = write_cfg(tmp_path, text.replace("activation=linear\n\n[route]\nlayers=-1\n", "\n[route]\nlayers=-1\n", 1))
    shutil.copy(file, tmp_path / "big.weights")
    assert read_network(cfg).values > 6_000_000
    with pytest.raises(CheckpointError, match="are missing"):
        import_model(tmp_path / "big.weights", cfg=cfg)
