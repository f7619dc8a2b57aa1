"""Files of ImageNet weights for the backbone of a detector: what is taken, what is told, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from zoo_core.create import create
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError
from zoo_core.importing import import_model, load_weights

RECIPE = "faster_rcnn_r18_fpn"
NARROW = {"roi_head": {"width": 16}, "neck": {"width": 16}}


def saved(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    return path


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return torchvision.models.resnet18().state_dict()


@pytest.fixture
def model() -> Detector:
    torch.manual_seed(0)
    return create(RECIPE, class_names=("Car", "Tram"), **NARROW)


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
@pytest.mark.parametrize("wrapper", ["", "module.", "backbone."])
def test_the_keys_of_torchvision(
    tmp_path: Path, weights: dict[str, torch.Tensor], model: Detector, wrapper: str, suffix: str
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = saved(tmp_path / f"resnet18.{suffix}", {wrapper + name: tensor for name, tensor in weights.items()})
    report = load_weights(model, path)
    for name, tensor in model.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(tensor, weights[name.removeprefix("backbone.body.")]), name
            assert report.remapped[name] == f"from {wrapper}{name.removeprefix('backbone.body.')}"
        else:
            assert torch.equal(tensor, before[name]), name
    assert sorted(report.unexpected) == [f"{wrapper}fc.bias", f"{wrapper}fc.weight"]
    assert sorted([*report.remapped, *report.missing]) == sorted(model.state_dict())
    assert [report.loaded, report.reinitialised, report.classes, report.settings] == [[], {}, {}, {}]


@pytest.mark.parametrize("name", ["test_convnext", "mobilenetv2_100", "regnetx_002"])
def test_the_keys_of_timm(tmp_path: Path, name: str) -> None:
    theirs = timm.create_model(name).state_dict()
    model = create(RECIPE, backbone=name, **NARROW)
    report = load_weights(model, saved(tmp_path / "model.safetensors", theirs))
    own = {name for name in model.state_dict() if name.startswith("backbone.")}
    assert {*report.remapped} == own
    for name, rule in report.remapped.items():
        assert torch.equal(model.state_dict()[name], theirs[rule.removeprefix("from ")])
    assert {*report.unexpected} == theirs.keys() - {rule.removeprefix("from ") for rule in report.remapped.values()}


def test_a_new_detector_begins_with_a_backbone(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "resnet18.pth", {"state_dict": weights})  # type: ignore[dict-item]
    model = create(RECIPE, num_classes=2, weights=path, **NARROW)
    assert torch.equal(model.state_dict()["backbone.body.conv1.weight"], weights["conv1.weight"])
    assert model.report is not None
    assert "roi_head.classes.weight" in model.report.missing


def test_an_option_of_the_backbone_does_the_same_and_tells_the_same(
    tmp_path: Path, weights: dict[str, torch.Tensor], model: Detector
) -> None:
    path = saved(tmp_path / "resnet18.pth", weights)
    made = create(RECIPE, class_names=("Car", "Tram"), backbone={"weights": str(path)}, **NARROW)
    assert made.report == load_weights(model, path)


def test_a_recipe_is_needed_where_there_is_no_model(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "resnet18.pth", weights)
    with pytest.raises(CheckpointError, match="If it holds a backbone alone, say of which recipe: --recipe NAME"):
        import_model(path)
    model = import_model(path, recipe=RECIPE, class_names=("a", "b"))
    assert (model.recipe, model.class_names) == (RECIPE, ("a", "b"))
    assert model.spec.backbone.weights is None  # type: ignore[attr-defined]
    assert torch.equal(model.state_dict()["backbone.body.layer4.1.conv2.weight"], weights["layer4.1.conv2.weight"])


def test_a_detector_of_another_kind_is_not_taken_for_a_backbone(
    tmp_path: Path, weights: dict[str, torch.Tensor], model: Detector
) -> None:
    more = {f"backbone.{name}": tensor for name, tensor in weights.items()} | {"bbox_head.a.weight": torch.zeros(2)}
    with pytest.raises(CheckpointError, match=r"timm_backbone: holds more than a backbone: bbox_head\.a\.weight"):
        load_weights(model, saved(tmp_path / "retinanet.pth", more))


def test_a_backbone_of_another_library(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    model = create("yolov5n", num_classes=2)
    with pytest.raises(CheckpointError, match="the backbone of this one is none of timm's"):
        load_weights(model, saved(tmp_path / "resnet18.safetensors", weights))


def test_what_cannot_be(tmp_path: Path, weights: dict[str, torch.Tensor], model: Detector) -> None:
    path = saved(tmp_path / "resnet18.safetensors", weights)
    (tmp_path / "x.cfg").write_text("")
    with pytest.raises(InputError, match=r"needs no description of its network; leave out .*x\.cfg"):
        import_model(path, cfg=tmp_path / "x.cfg", recipe=RECIPE)
    weights["layer1.0.conv1.weight"][0] = float("nan")
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight holds values that are not finite"):
        load_weights(model, saved(path, weights))
