"""State dicts of torchvision: the imported detector finds what torchvision's finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

from zoo_core.build import build
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError
from zoo_core.images import read_image
from zoo_core.importing import import_model, load_weights
from zoo_core.recipes import resolve
from zoo_core.types import Detections
from zoo_rcnn.importers.torchvision import PUBLISHED

FROZEN = torchvision.ops.FrozenBatchNorm2d
IMAGE = torch.randint(0, 256, (3, 24, 31), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IMAGE = IMAGE.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :187, :245]


def theirs(backbone: str = "resnet18", classes: int = 4, norm: Any = FROZEN, **options: Any) -> nn.Module:
    """Return a detector of torchvision's, its background counted, with random weights that find something."""
    torch.manual_seed(1)
    body = resnet_fpn_backbone(backbone_name=backbone, weights=None, norm_layer=norm)
    heads = {"box_head": TwoMLPHead(256 * 49, 32), "box_predictor": FastRCNNPredictor(32, classes)}
    return lively(FasterRCNN(body, **heads, **options))


def lively(model: Any) -> nn.Module:
    """Give norms statistics of their own and the heads larger weights, so that scores are neither flat nor full."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | FROZEN):
            for name, low, high in (("running_var", 0.8, 1.2), ("running_mean", -0.1, 0.1), ("bias", -0.1, 0.1)):
                tensor = getattr(module, name).data
                tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))
    for name, tensor in model.state_dict().items():
        if name.endswith(("bn3.weight", "layer1.1.bn2.weight")):
            tensor.fill_(0.3)
    model.rpn.head.bbox_pred.weight.data.mul_(2)
    model.rpn.head.cls_logits.weight.data.mul_(10)
    model.roi_heads.box_predictor.cls_score.weight.data.mul_(20)
    return model.eval()  # type: ignore[no-any-return]


@torch.inference_mode()
def balanced(model: Any, image: Tensor) -> nn.Module:
    """Let no class win everywhere: give the scores biases such that all have the same mean over the regions of an image."""
    head, seen = model.roi_heads.box_predictor.cls_score, []
    with head.register_forward_hook(lambda _, inputs, output: seen.append(output)):
        model([image / 255])
    spread = (seen[0] - seen[0].mean(0)).std()
    head.bias.sub_(seen[0].mean(0)).mul_(3 / spread)
    head.weight.mul_(3 / spread)
    return model  # type: ignore[no-any-return]


@torch.inference_mode()
def found_by(model: nn.Module, image: Tensor) -> Detections:
    (found,) = model([image / 255])
    return Detections(found["boxes"], found["scores"], found["labels"] - 1)


def same(found: Detections, wanted: Detections) -> None:
    assert len(wanted) > 10
    assert len(set(wanted.labels.tolist())) > 1
    assert torch.equal(found.labels, wanted.labels)
    torch.testing.assert_close(found.scores, wanted.scores, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.boxes, wanted.boxes, rtol=0, atol=1e-2)


def smaller(model: Detector, short: int, long: int) -> Detector:
    """Return the detector with a smaller frame."""
    frame = {"short_side": short, "long_side": long}
    other = build(resolve(model.spec, {"preprocess": frame}), model.class_names)
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("number", [0, 3])
def test_the_same_detections_in_a_real_image(shared: Path, tmp_path: Path, number: int) -> None:
    torch.manual_seed(0)
    model = lively(fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None))
    image = read_image(sorted((shared / "data/coco_tiny80/val2017").glob("*.jpg"))[number])
    torch.save(balanced(model, image).state_dict(), tmp_path / "x.pth")
    imported = import_model(tmp_path / "x.pth")
    assert imported.recipe == "faster_rcnn_r50_fpn"
    assert imported.class_names[:3] == ("person", "bicycle", "car")
    assert imported.class_names[11] == "N/A 12"
    same(imported.predict(image)[0], found_by(model, image))


@pytest.mark.parametrize(("short", "long"), [(160, 267), (187, 300), (99, 101)])
def test_the_same_detections_in_frames_of_any_size(tmp_path: Path, short: int, long: int) -> None:
    """Frames of which the coarsest map's stride is no divisor, too: there torchvision's cells lie otherwise."""
    model = balanced(theirs(min_size=short, max_size=long), IMAGE)
    torch.save({"model": model.state_dict(), "epoch": 3}, tmp_path / "x.pth")
    imported = import_model(tmp_path / "x.pth", class_names=("a", "b", "c"))
    assert imported.recipe == "faster_rcnn_r18_fpn"
    same(smaller(imported, short, long).predict(IMAGE)[0], found_by(model, IMAGE))


def test_norms_that_are_trained_stay_so(tmp_path: Path) -> None:
    torch.save(theirs(norm=nn.BatchNorm2d).state_dict(), tmp_path / "trained.pth")
    torch.save(theirs().state_dict(), tmp_path / "frozen.pth")
    found = [import_model(tmp_path / f"{name}.pth").spec.backbone for name in ("trained", "frozen")]  # type: ignore[attr-defined]
    assert [(b.frozen_stages, b.frozen_norm) for b in found] == [(0, False), (2, True)]


def test_the_names_before_version_2(tmp_path: Path) -> None:
    state = theirs().state_dict()
    new = import_model(_saved(tmp_path, state)).state_dict()
    old = {name.replace("conv.0.0.", "conv."): tensor for name, tensor in state.items() if name.startswith("rpn")}
    old |= {n.replace(".0.weight", ".weight").replace(".0.bias", ".bias"): t for n, t in state.items() if ".fpn." in n}
    old |= {n: t for n, t in state.items() if not n.startswith("rpn") and ".fpn." not in n}
    assert old.keys() != state.keys()
    found = import_model(_saved(tmp_path, old)).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in new.items())


def test_the_published_file_adds_nothing_to_the_variance(tmp_path: Path) -> None:
    model = theirs(min_size=160, max_size=267)
    for module in model.modules():
        if isinstance(module, FROZEN):
            module.running_var.mul_(1e-5)  # a variance of which what is added is no small part
            module.weight.mul_(3e-3)
            module.eps = 0.0
    path = tmp_path / f"fasterrcnn_resnet50_fpn_coco-{PUBLISHED}.pth"
    torch.save(balanced(model, IMAGE).state_dict(), path)
    same(smaller(import_model(path), 160, 267).predict(IMAGE)[0], found_by(model, IMAGE))


def test_rows_of_classes_and_of_the_background(tmp_path: Path) -> None:
    state = theirs().state_dict()
    model = build(import_model(_saved(tmp_path, state)).spec, ("x", "y", "z"))
    report = load_weights(model, tmp_path / "x.pth")
    assert sorted(report.remapped) == sorted(model.state_dict())
    theirs_are, rule = "from roi_heads.box_predictor.cls_score.weight", "the background's row put last"
    assert report.remapped["roi_head.classes.weight"] == f"{theirs_are}, {rule}"
    assert report.remapped["backbone.body.bn1.num_batches_tracked"] == "0, for the file counts no batches"
    scores, deltas = (state[f"roi_heads.box_predictor.{part}.weight"] for part in ("cls_score", "bbox_pred"))
    assert torch.equal(model.state_dict()["roi_head.classes.weight"], scores[[1, 2, 3, 0]])
    assert torch.equal(model.state_dict()["roi_head.deltas.weight"], deltas[4:])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("roi_heads.mask_head.mask_fcn1.weight", "a head for masks"),
        ("roi_heads.keypoint_head.0.weight", "a head for keypoints"),
        ("rpn.head.conv.1.0.weight", "the heads of fasterrcnn_resnet50_fpn_v2"),
        ("head.classification_head.cls_logits.weight", "the heads of a detector of one stage"),
        ("extra.weight", "are none of a Faster R-CNN with ResNet and FPN of torchvision: extra.weight"),
    ],
)
def test_what_is_no_faster_rcnn_with_fpn(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(CheckpointError, match=why):
        import_model(_saved(tmp_path, theirs().state_dict() | {name: torch.zeros(1)}))


def test_what_has_no_head(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in theirs().state_dict().items() if "box_predictor" not in name}
    with pytest.raises(CheckpointError, match=r"roi_head.classes.weight, as it is called here, is missing"):
        import_model(_saved(tmp_path, state))


def test_scores_that_are_one_number(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"roi_head.classes.bias has shape \(\), expected \(4,\)"):
        import_model(_saved(tmp_path, theirs().state_dict() | {"roi_heads.box_predictor.cls_score.bias": torch.zeros(())}))


def _saved(folder: Path, state: dict[str, Any]) -> Path:
    torch.save(state, folder / "x.pth")
    return folder / "x.pth"


def test_the_settings_are_those_of_its_builders(tmp_path: Path) -> None:
    model: Any = theirs()
    spec: Any = import_model(_saved(tmp_path, model.state_dict())).spec
    sizes = (spec.preprocess.rounding, spec.preprocess.short_side, spec.preprocess.long_side, spec.preprocess.pad_multiple)
    assert sizes == ("cut", *model.transform.min_size, model.transform.max_size, model.transform.size_divisible)
    assert spec.proposer.fitted_steps
    rpn, heads = model.rpn, model.roi_heads
    assert (spec.proposer.candidates, spec.proposer.proposals) == (rpn.pre_nms_top_n(), rpn.post_nms_top_n())
    assert (spec.proposer.nms_iou, spec.proposer.least_side) == (rpn.nms_thresh, rpn.min_size)
    head = spec.roi_head
    wanted = (heads.score_thresh, heads.nms_thresh, heads.detections_per_img)
    assert (head.least_score, head.nms_iou, head.most_detections) == wanted
    assert head.roi_sampling == heads.box_roi_pool.sampling_ratio


def test_boxes_may_shrink_without_a_bound_as_torchvisions_do(tmp_path: Path) -> None:
    from torchvision.models.detection._utils import BoxCoder

    model: Any = import_model(_saved(tmp_path, theirs().state_dict()))
    deltas = torch.tensor([[0.1, -0.2, -6.0, -9.0], [0.0, 0.0, 9.0, 0.3]])
    boxes = torch.tensor([[10.0, 20.0, 50.0, 80.0], [0.0, 0.0, 30.0, 30.0]])
    due = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode(deltas, [boxes]).squeeze(1)
    torch.testing.assert_close(model.proposer.coder.decode(boxes, deltas), due)
    due = BoxCoder((10.0, 10.0, 5.0, 5.0)).decode(deltas, [boxes]).squeeze(1)
    torch.testing.assert_close(model.roi_head.coder.decode(boxes, deltas), due)
