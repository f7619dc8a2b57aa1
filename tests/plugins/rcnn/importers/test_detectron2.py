"""Checkpoints of Detectron2: what they become, and which are refused."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.plugins.rcnn.importers.foreign import detectron2, random_detector
from zoo_core.build import build
from zoo_core.errors import CheckpointError, InputError
from zoo_core.hub import load, save
from zoo_core.importing import import_model, load_weights
from zoo_core.recipes import resolve
from zoo_rcnn.importers.coco import classes
from zoo_rcnn.importers.network import NO_COUNT

Weights = dict[str, Tensor]
HEADS = [f"roi_head.{part}.{leaf}" for part in ("classes", "deltas") for leaf in ("weight", "bias")]
ANCHORS = "proposal_generator.anchor_generator.cell_anchors."
SMALL: dict[str, Any] = {"neck": {"width": 16}, "roi_head": {"width": 24}}


def pkl(path: Path, weights: Weights, protocol: int = 2, **beside: Any) -> Path:
    """Write a file as those of the model zoo are."""
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo", **beside}, protocol))
    return path


def pth(path: Path, weights: Weights) -> Path:
    """Write a file as those of a training are."""
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.02, "params": [0]}]}
    scheduler = {"milestones": (60000, 80000), "last_epoch": 4999, "_last_lr": [0.02]}
    torch.save({"model": weights, "optimizer": optimizer, "scheduler": scheduler, "iteration": 4999}, path)
    return path


def anchors(sides: tuple[int, ...] = (32, 64, 128, 256, 512)) -> Weights:
    ratios = torch.tensor([0.5, 1.0, 2.0])
    halves = [torch.stack([(s * s / ratios).sqrt() / 2, (s * s / ratios).sqrt() * ratios / 2], dim=1) for s in sides]
    return {f"{ANCHORS}{level}": torch.cat([-half, half], dim=1) for level, half in enumerate(halves)}


def colours(mean: list[float], std: list[float]) -> Weights:
    return {"pixel_mean": torch.tensor(mean).view(3, 1, 1), "pixel_std": torch.tensor(std).view(3, 1, 1)}


@pytest.fixture(scope="module")
def wanted() -> Any:
    return random_detector("faster_rcnn_r50_fpn", backbone={"stride_first": True})


@pytest.fixture(scope="module")
def weights(wanted: Any) -> Weights:
    return detectron2(wanted.state_dict())


@pytest.mark.parametrize("protocol", [2, 4, None])
def test_every_tensor_comes_to_its_place(tmp_path: Path, wanted: Any, weights: Weights, protocol: int | None) -> None:
    file = pkl(tmp_path / "x.pkl", weights, protocol) if protocol else pth(tmp_path / "x.pth", weights)
    found = import_model(file)
    state = found.state_dict()
    first = "backbone.body.conv1.weight"
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(state[name], tensor.flip(1) if name == first else tensor), name
    assert (found.recipe, found.class_names) == ("faster_rcnn_r50_fpn", ("class 0", "class 1", "class 2"))
    remapped, theirs = found.report.remapped, "backbone.bottom_up"
    assert sorted(remapped) == sorted(state)
    assert remapped[first] == f"from {theirs}.stem.conv1.weight, its channels from BGR to RGB"
    assert remapped["backbone.body.bn1.bias"] == f"from {theirs}.stem.conv1.norm.bias"
    assert remapped["backbone.body.layer3.5.bn2.running_var"] == f"from {theirs}.res4.5.conv2.norm.running_var"
    assert remapped["backbone.body.layer4.0.downsample.0.weight"] == f"from {theirs}.res5.0.shortcut.weight"
    assert remapped["backbone.body.bn1.num_batches_tracked"] == NO_COUNT
    assert remapped["neck.lateral.32.bias"] == "from backbone.fpn_lateral5.bias"
    assert remapped["roi_head.deltas.weight"] == "from roi_heads.box_predictor.bbox_pred.weight"
    assert [found.report.missing, found.report.unexpected, found.report.reinitialised] == [[], [], {}]


def test_the_settings_are_those_of_the_base_configuration(tmp_path: Path, weights: Weights) -> None:
    spec: Any = import_model(pkl(tmp_path / "x.pkl", weights)).spec
    pixels, backbone, proposer, head = spec.preprocess, spec.backbone, spec.proposer, spec.roi_head
    assert (pixels.mean, pixels.std, pixels.antialias) == ((123.675, 116.28, 103.53), (1, 1, 1), True)
    assert (pixels.short_side, pixels.long_side, pixels.rounding, pixels.pad_multiple) == (800, 1333, "nearest", 32)
    assert (backbone.type, backbone.stride_first, backbone.frozen_stages, backbone.frozen_norm) == ("resnet50", True, 2, True)
    assert (spec.neck.strides, proposer.scales, proposer.ratios) == ((4, 8, 16, 32, 64), (8,), (0.5, 1, 2))
    assert (proposer.candidates, proposer.proposals, proposer.nms_iou, proposer.std) == (1000, 1000, 0.7, (1, 1, 1, 1))
    assert (head.roi_sampling, head.roi_aligned, head.roi_size, head.std) == (0, True, 7, (0.1, 0.1, 0.2, 0.2))
    assert (head.least_score, head.nms_iou, head.most_detections) == (0.05, 0.5, 100)


def test_what_older_files_have_beside_the_weights(tmp_path: Path, weights: Weights) -> None:
    said = colours([103.53, 116.28, 123.675], [57.375, 57.12, 58.395])
    found = import_model(pkl(tmp_path / "x.pkl", weights | said | anchors()))
    spec: Any = found.spec
    assert (spec.preprocess.mean, spec.preprocess.std) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert spec.backbone.stride_first
    assert found.report.unexpected == []


def test_a_network_that_sees_red_first(tmp_path: Path, weights: Weights) -> None:
    """It was trained from torchvision's weights, whose strides are elsewhere, too."""
    said = colours([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    found = import_model(pth(tmp_path / "x.pth", weights | said))
    spec: Any = found.spec
    assert (spec.preprocess.mean, spec.preprocess.std) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert not spec.backbone.stride_first
    name = "backbone.bottom_up.stem.conv1.weight"
    assert found.report.remapped["backbone.body.conv1.weight"] == f"from {name}"
    assert torch.equal(found.state_dict()["backbone.body.conv1.weight"], weights[name])


def test_the_origin_of_a_network_is_asked_about(tmp_path: Path, weights: Weights, caplog: Any) -> None:
    """Norms that are frozen have a mean of zero where they come from Caffe; with another mean the origin is in doubt."""
    zero = {name: torch.zeros_like(t) if name.endswith("running_mean") else t for name, t in weights.items()}
    stem = "backbone.bottom_up.stem.conv1.norm"
    said = colours([103.53, 116.28, 123.675], [1.0, 1.0, 1.0])
    counting = {f"{stem}.num_batches_tracked": torch.tensor(7)}
    with caplog.at_level(logging.WARNING):
        for content in (zero, weights | said, weights | counting):
            import_model(pth(tmp_path / "x.pth", content))
        assert caplog.text == ""
        import_model(pth(tmp_path / "x.pth", weights))
    assert "x.pth: the stem of its backbone has statistics of its own" in caplog.text


@pytest.mark.parametrize(("stages", "frozen"), [((4, 5), 3), ((3, 4, 5), 2), ((2, 3, 4, 5), 1)])
def test_norms_that_were_trained(tmp_path: Path, weights: Weights, stages: tuple[int, ...], frozen: int) -> None:
    """Those that Detectron2 freezes count no batches."""
    prefixes = tuple(f"backbone.bottom_up.res{stage}." for stage in stages)
    counts = {
        name.replace("running_mean", "num_batches_tracked"): torch.tensor(9)
        for name in weights
        if name.startswith(prefixes) and name.endswith("running_mean")
    }
    found = import_model(pth(tmp_path / "x.pth", weights | counts))
    spec: Any = found.spec
    assert (spec.backbone.frozen_stages, spec.backbone.frozen_norm, spec.backbone.stride_first) == (frozen, False, True)
    assert found.state_dict()["backbone.body.layer4.0.bn1.num_batches_tracked"] == 9
    assert found.report.remapped["backbone.body.bn1.num_batches_tracked"] == NO_COUNT


def test_a_recipe_that_is_given_has_its_own_backbone_but_for_the_stride(tmp_path: Path, weights: Weights) -> None:
    spec: Any = import_model(pkl(tmp_path / "x.pkl", weights), recipe="faster_rcnn_r50_fpn").spec
    assert spec.backbone.stride_first


def test_the_way_out_for_files_that_do_not_say_their_colours(tmp_path: Path, weights: Weights) -> None:
    """As docs/hub.md has it."""
    model = import_model(pth(tmp_path / "x.pth", weights))
    first: Any = model.backbone.body.conv1.weight  # type: ignore[union-attr]
    first.data = first.data.flip(1)
    save(model, tmp_path / "mine")
    red = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
    again: Any = load(tmp_path / "mine", backbone={"stride_first": False}, preprocess=red)
    assert (again.spec.backbone.stride_first, again.spec.preprocess.std) == (False, red["std"])
    assert again.backbone.body.layer2[0].conv1.stride == (1, 1)
    assert torch.equal(again.backbone.body.conv1.weight, weights["backbone.bottom_up.stem.conv1.weight"])


def test_what_is_no_faster_rcnn_with_fpn(tmp_path: Path, weights: Weights) -> None:
    one = torch.zeros(1)
    renamed = {name.replace("backbone.bottom_up.", "backbone."): tensor for name, tensor in weights.items()}
    cases: dict[str, dict[str, Any]] = {
        "roi_heads.mask_head.mask_fcn1.weight: a head for masks": {"roi_heads.mask_head.mask_fcn1.weight": one},
        "a head for keypoints, which is not read": {"roi_heads.keypoint_head.conv_fcn1.weight": one},
        "one of the heads of Cascade R-CNN": {"roi_heads.box_head.0.fc1.weight": one},
        "one of the heads of Cascade": {"roi_heads.box_predictor.2.cls_score.weight": one},
        "a head for semantic segmentation": {"sem_seg_head.p2.0.weight": one},
        "a network without a pyramid": renamed | anchors((32, 64)),
        r"a detector of one stage \(RetinaNet\)": {"head.cls_subnet.0.weight": one, "anchor_generator.cell_anchors.0": one},
        "a box head that is not of two layers": {"roi_heads.box_head.conv1.weight": one},
        "several convolutions in the proposer": {"proposal_generator.rpn_head.conv.conv0.weight": one},
        "normalisation in the pyramid": {"backbone.fpn_lateral2.norm.weight": one},
        "deformable convolutions": {"backbone.bottom_up.res3.0.conv2_offset.weight": one},
        "are none of a Faster R-CNN with ResNet and FPN of Detectron2: teacher.x": {"teacher.x": one},
        r"its anchors \(.*cell_anchors.0\) are not those of 32 to 512 pixels": anchors((16, 32, 64, 128, 256)),
        r"its anchors \(.*cell_anchors.5\)": anchors((32, 64, 128, 256, 512, 1024)),
        "its pixel_mean is no number for each of three colours": {"pixel_mean": torch.ones(1)},
        "its pixel_std is no number for each": colours([1.0, 2.0, 3.0], [1.0, float("nan"), 1.0]),
        "is no Faster R-CNN with ResNet and FPN: neck.lateral.4.weight, as it is called here, has shape": {
            "backbone.fpn_lateral2.weight": one
        },
    }
    for text, content in cases.items():
        with pytest.raises(CheckpointError, match=rf"x\.pkl: .*{text}"):
            import_model(pkl(tmp_path / "x.pkl", weights | content, 4))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"blobs": {"conv1_w": torch.ones(1).numpy()}}, "holds 'blobs', the weights of a network of Caffe2"),
        ({"model": {}}, "holds nothing where a state dict is due"),
        ([1], "holds a list where a state dict is due"),
        ({"model": {"a": "b"}}, "holds no state dict: 'a' is no tensor"),
        ({"model": {"a": Path}}, "names 'pathlib.Path', which is neither tensor nor plain data"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, content: object, why: str) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, 4))
    with pytest.raises(CheckpointError, match=rf"x\.pkl.* {why}"):
        import_model(tmp_path / "x.pkl")


def test_a_file_of_another_kind_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match=r"detectron2_rcnn: a \.pkl or \.pth file of Detectron2 with a Faster R-CNN"):
        import_model(tmp_path / "x.pkl")


def test_a_description_that_is_not_needed(tmp_path: Path, weights: Weights) -> None:
    (tmp_path / "x.yaml").write_text("")
    with pytest.raises(InputError, match=r"x\.pkl describes its network itself; leave out .*x\.yaml"):
        import_model(pkl(tmp_path / "x.pkl", weights), cfg=tmp_path / "x.yaml")


def test_the_case_of_the_notes(tmp_path: Path) -> None:
    """80 classes into 80: all of it; into 3 of other names: all but the tensors of the classes."""
    given = detectron2(random_detector("faster_rcnn_r101_fpn", 80).state_dict())
    file = pkl(tmp_path / "model_final_f6e8b1.pkl", given)
    assert import_model(file).class_names == classes()
    assert (len(classes()), classes()[0], classes()[79]) == (80, "person", "toothbrush")

    whole = build(resolve("faster_rcnn_r101_fpn", {**SMALL, "num_classes": 80}))
    report = load_weights(whole, file)
    assert sorted(report.remapped) == sorted(whole.state_dict())
    assert [report.loaded, report.reinitialised, report.missing, report.unexpected] == [[], {}, [], []]
    assert "backbone.stride_first" in report.settings

    few = build(resolve("faster_rcnn_r101_fpn", {**SMALL, "num_classes": 3}), ("Car", "Pedestrian", "Cyclist"))
    report = load_weights(few, file)
    assert sorted(report.reinitialised) == sorted(HEADS)
    assert [report.loaded, report.missing, report.unexpected] == [[], [], []]
    assert len(report.remapped) == len(few.state_dict()) - 4
    report = load_weights(few, file, {"car": "Car"})
    assert report.classes == {"Car": "car", "Pedestrian": None, "Cyclist": None}
    bias = given["roi_heads.box_predictor.cls_score.bias"]
    assert torch.equal(few.state_dict()["roi_head.classes.bias"][[0, 3]], bias[[2, 80]])


def test_scores_that_are_one_number(tmp_path: Path, weights: Weights) -> None:
    file = pkl(tmp_path / "x.pkl", weights | {"roi_heads.box_predictor.cls_score.bias": torch.tensor(0.5)})
    with pytest.raises(CheckpointError, match=r"roi_head.classes.bias has shape \(\), expected \(4,\)"):
        import_model(file)
