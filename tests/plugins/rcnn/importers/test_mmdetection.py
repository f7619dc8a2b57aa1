"""Checkpoints of MMDetection: what they become, and which are refused."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.plugins.rcnn.importers.foreign import mmdetection, random_detector
from zoo_core.build import build
from zoo_core.errors import CheckpointError, InputError
from zoo_core.importing import import_model, load_weights
from zoo_core.recipes import resolve
from zoo_rcnn.importer_specs import MMDetectionImporterSpec
from zoo_rcnn.importers.mmdetection import MMDetectionImporter

NAMES = ("cat", "dog", "cow")
HEADS = [f"roi_head.{part}.{leaf}" for part in ("classes", "deltas") for leaf in ("weight", "bias")]


def saved(path: Path, weights: dict[str, Tensor], **meta: Any) -> Path:
    torch.save({"meta": {"epoch": 12, "time": datetime(2020, 1, 30), **meta}, "state_dict": weights}, path)
    return path


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return mmdetection(random_detector().state_dict())


@pytest.mark.parametrize("recipe", ["faster_rcnn_r18_fpn", "faster_rcnn_r50_fpn"])
def test_every_tensor_comes_to_its_place(tmp_path: Path, recipe: str) -> None:
    wanted = random_detector(recipe)
    found = import_model(saved(tmp_path / "x.pth", mmdetection(wanted.state_dict()), CLASSES=NAMES))
    assert found.recipe == recipe
    assert found.class_names == NAMES
    assert found.spec == wanted.spec
    state = found.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in wanted.state_dict().items())


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({"CLASSES": list(NAMES)}, NAMES),
        ({"dataset_meta": {"classes": NAMES, "palette": [(1, 2, 3)]}}, NAMES),
        ({"dataset_meta": {"CLASSES": NAMES}}, NAMES),
        ({"CLASSES": None}, ("class 0", "class 1", "class 2")),
        ({}, ("class 0", "class 1", "class 2")),
    ],
)
def test_the_names_of_the_classes(
    tmp_path: Path, weights: dict[str, Tensor], meta: dict[str, Any], names: tuple[str, ...]
) -> None:
    file = saved(tmp_path / "x.pth", weights, **meta)
    assert import_model(file).class_names == names
    assert import_model(file, class_names=("a", "b", "c")).class_names == ("a", "b", "c")


def test_names_that_do_not_fit_the_weights(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    importer = MMDetectionImporter(MMDetectionImporterSpec())
    file = saved(tmp_path / "x.pth", weights, CLASSES=("cat", "dog"))
    with pytest.raises(CheckpointError, match=r"has names for 2 classes and weights for 3; give the names yourself"):
        import_model(file)
    assert importer.recognises(file)
    assert import_model(file, class_names=NAMES).class_names == NAMES


def test_a_state_dict_alone_and_one_of_a_wrapper(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    torch.save(weights, tmp_path / "x.pth")
    assert import_model(tmp_path / "x.pth").recipe == "faster_rcnn_r18_fpn"
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, tmp_path / "y.pth")
    assert import_model(tmp_path / "y.pth").recipe == "faster_rcnn_r18_fpn"


class History:
    """Stands for an object of the framework that lies beside the weights."""

    def __init__(self) -> None:
        self.values = [1.0, 2.0]


def test_objects_beside_the_weights_are_not_made(tmp_path: Path, weights: dict[str, Tensor], monkeypatch: Any) -> None:
    import sys
    import types

    module = types.ModuleType("mmengine.history")
    monkeypatch.setitem(sys.modules, "mmengine", types.ModuleType("mmengine"))
    monkeypatch.setitem(sys.modules, "mmengine.history", module)
    monkeypatch.setattr(History, "__module__", "mmengine.history")
    module.History = History  # type: ignore[attr-defined]
    torch.save({"meta": {}, "message_hub": {"loss": History(), "call": getattr}, "state_dict": weights}, tmp_path / "x.pth")
    monkeypatch.delitem(sys.modules, "mmengine.history")
    assert import_model(tmp_path / "x.pth").recipe == "faster_rcnn_r18_fpn"


def renamed(weights: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {name.replace(old, new): tensor for name, tensor in weights.items()}


def test_what_is_no_faster_rcnn_with_fpn(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    cases = {
        "the layout of MMDetection 1.x": renamed(weights, "roi_head.bbox_head", "bbox_head"),
        "a head for masks, which is not read": weights | {"roi_head.mask_head.convs.0.conv.weight": torch.zeros(1)},
        "one of the heads of Cascade R-CNN": renamed(weights, "bbox_head.", "bbox_head.0."),
        "a map of its own beyond": weights | {"neck.fpn_convs.4.conv.weight": torch.zeros(1)},
        "1 of its 151 tensors are none of a Faster R-CNN with ResNet and FPN of MMDetection: teacher.x": {
            **weights,
            "teacher.x": torch.zeros(1),
        },
        r"its backbone has \[2, 2, 2, 1\] blocks of 2 convolutions": {
            name: tensor for name, tensor in weights.items() if "layer4.1" not in name
        },
        "backbone.body.conv1.weight, as it is called here, is missing": {
            name: tensor for name, tensor in weights.items() if name != "backbone.conv1.weight"
        },
        "it proposes 9 boxes per cell, not 3, and does not say of what sizes": weights
        | {"rpn_head.rpn_cls.weight": torch.zeros(9, 16, 1, 1)},
        "4 scores, the background's among them, and 4 coordinates": {
            **weights,
            "roi_head.bbox_head.fc_reg.weight": torch.zeros(4, 24),
        },
        "takes 100 values, which are no squares of 16 channels": {
            **weights,
            "roi_head.bbox_head.shared_fcs.0.weight": torch.zeros(24, 100),
        },
        r"does not fit recipe 'faster_rcnn_r18_fpn': backbone.body.bn1.bias has shape \(3,\), expected \(64,\)": {
            **weights,
            "backbone.bn1.bias": torch.zeros(3),
        },
        "backbone.body.bn1.bias holds values that are not finite": weights
        | {"backbone.bn1.bias": torch.full((64,), torch.nan)},
        "holds nothing where a state dict is due": {},
    }
    for text, content in cases.items():
        with pytest.raises(CheckpointError, match=text):
            import_model(saved(tmp_path / "x.pth", content))


def test_what_is_no_state_dict(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"mmdetection_rcnn: .*holds no state dict: 'epoch' is no tensor"):
        import_model(tmp_path / "x.pth")
    torch.save([1], tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="holds a list where a state dict is due"):
        import_model(tmp_path / "x.pth")


def test_a_description_that_is_not_needed(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    (tmp_path / "x.cfg").write_text("")
    with pytest.raises(InputError, match=r"x\.pth describes its network itself; leave out .*x\.cfg"):
        import_model(saved(tmp_path / "x.pth", weights), cfg=tmp_path / "x.cfg")


def test_weights_for_a_model_of_other_classes(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    file = saved(tmp_path / "x.pth", weights, CLASSES=NAMES)
    model = build(resolve("faster_rcnn_r18_fpn", random_detector(classes=2).spec.model_dump()), ("Hound", "cat"))
    report = load_weights(model, file, {"dog": "Hound"})
    assert report.classes == {"Hound": "dog", "cat": "cat"}
    assert sorted(report.remapped) == sorted(model.state_dict())
    assert report.remapped["backbone.body.bn1.weight"] == "from backbone.bn1.weight"
    rows = {"classes": "3 of 3 rows by class", "deltas": "8 of 8 rows by class"}
    theirs = {"classes": "fc_cls", "deltas": "fc_reg"}
    for name in HEADS:
        _, part, leaf = name.split(".")
        assert report.remapped[name] == f"from roi_head.bbox_head.{theirs[part]}.{leaf}, {rows[part]}"
    assert [report.reinitialised, report.missing, report.unexpected] == [{}, [], []]
    scores = weights["roi_head.bbox_head.fc_cls.bias"]
    assert torch.equal(model.state_dict()["roi_head.classes.bias"], scores[[1, 0, 3]])
    deltas = weights["roi_head.bbox_head.fc_reg.bias"]
    assert torch.equal(model.state_dict()["roi_head.deltas.bias"], torch.cat([deltas[4:8], deltas[:4]]))


@pytest.mark.slow
@pytest.mark.shared
def test_the_case_of_the_notes(tmp_path: Path, shared: Path) -> None:
    """The file with which the notes begin, by its names and shapes: 80 classes, then 3 of other names."""
    record = json.loads((shared / "golden/mmdet/faster_rcnn_r101_fpn_state_dict_keys.json").read_text())
    generator = torch.Generator().manual_seed(0)
    given = {
        key: torch.zeros(shape, dtype=torch.int64) if kind == "int64" else torch.rand(shape, generator=generator)
        for key, shape, kind in record["keys"]
    }
    names = tuple(f"thing {number}" for number in range(80))
    file = saved(tmp_path / "faster_rcnn_r101_fpn_1x_coco_20200130-f513f705.pth", given, CLASSES=names)

    whole = build(resolve("faster_rcnn_r101_fpn", {"num_classes": 80}))
    report = load_weights(whole, file)
    assert sorted(report.remapped) == sorted(whole.state_dict())
    assert report.remapped["neck.lateral.4.bias"] == "from neck.lateral_convs.0.conv.bias"
    assert [report.loaded, report.reinitialised, report.missing, report.unexpected] == [[], {}, [], []]
    assert torch.equal(whole.state_dict()["backbone.body.layer3.22.conv2.weight"], given["backbone.layer3.22.conv2.weight"])

    few = build(resolve("faster_rcnn_r101_fpn", {"num_classes": 3}), ("Car", "Pedestrian", "Cyclist"))
    before = {name: few.state_dict()[name].clone() for name in HEADS}
    report = load_weights(few, file)
    assert report.reinitialised == dict.fromkeys(HEADS, "no class of the file is one of this model")
    assert [report.loaded, report.missing, report.unexpected] == [[], [], []]
    assert len(report.remapped) == len(few.state_dict()) - 4
    assert all(torch.equal(few.state_dict()[name], tensor) for name, tensor in before.items())
