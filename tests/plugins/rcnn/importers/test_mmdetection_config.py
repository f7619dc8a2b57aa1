"""What the configuration in a checkpoint says is taken, or refused where the zoo has no option for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.plugins.rcnn.importers.foreign import mmdetection, random_detector
from zoo_core.detectors.preprocess import KeepRatio
from zoo_core.detectors.specs import KeepRatioSpec
from zoo_core.errors import CheckpointError
from zoo_core.importing import import_model
from zoo_rcnn.importers.mmdetection_config import LONGEST, options, read, sees_blue_first

TWO = """
dataset_type = 'CocoDataset'
img_norm_cfg = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)
model = dict(
    type='FasterRCNN',
    backbone=dict(type='ResNet', depth=50, frozen_stages=-1, norm_eval=False, style='pytorch'),
    neck=dict(type='FPN', num_outs=5),
    rpn_head=dict(anchor_generator=dict(type='AnchorGenerator', scales=[4, 8], ratios=[1.0], strides=[4, 8, 16, 32, 64])),
    roi_head=dict(bbox_roi_extractor=dict(roi_layer=dict(type='RoIAlign', out_size=7, sample_num=2, aligned=False))))
test_cfg = dict(
    rpn=dict(nms_pre=700, max_num=600, nms_thr=0.6, min_bbox_size=-1),
    rcnn=dict(score_thr=0.1, nms=dict(type='nms', iou_thr=0.4), max_per_img=50))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(1000, 600), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='Pad', size_divisor=64)])
]
"""
THREE = """
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], bgr_to_rgb=True, pad_size_divisor=64),
    backbone=dict(type='ResNet', frozen_stages=-1, norm_eval=False),
    rpn_head=dict(anchor_generator=dict(scales=[4, 8], ratios=[1.0])),
    roi_head=dict(bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=2, aligned=False))),
    test_cfg=dict(
        rpn=dict(nms_pre=700, max_per_img=600, nms=dict(type='nms', iou_threshold=0.6), min_bbox_size=0),
        rcnn=dict(score_thr=0.1, nms=dict(type='nms', iou_threshold=0.4), max_per_img=50)))
test_dataloader = dict(dataset=dict(type='CocoDataset', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(1000, 600), keep_ratio=True)]))
"""
WANTED = {
    "preprocess": {"mean": (1, 2, 3), "std": (4, 5, 6), "pad_multiple": 64, "long_side": 1000, "short_side": 600},
    "backbone": {"frozen_stages": 0, "frozen_norm": False},
    "proposer": {"scales": (4, 8), "ratios": (1,), "candidates": 700, "proposals": 600, "nms_iou": 0.6, "least_side": 0},
    "roi_head": {"roi_sampling": 2, "roi_aligned": False, "least_score": 0.1, "nms_iou": 0.4, "most_detections": 50},
}


@pytest.mark.parametrize("meta", [{"config": TWO}, {"cfg": THREE}])
def test_what_is_said_is_taken(meta: dict[str, Any]) -> None:
    assert options(meta) == WANTED


@pytest.mark.parametrize("meta", [{}, {"config": None}, {"config": ""}, {"config": "model: {type: x}\n"}, {"cfg": "(" * 5000}])
def test_where_nothing_is_said_the_recipe_stays(meta: dict[str, Any]) -> None:
    assert options(meta) == {}


CAFFE_TWO = """
img_norm_cfg = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 2.0, 3.0], to_rgb=False)
model = dict(type='FasterRCNN', backbone=dict(type='ResNet', depth=50, frozen_stages=1, norm_eval=True, style='caffe'))
"""
CAFFE_THREE = """
model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 2.0, 3.0], bgr_to_rgb=False),
    backbone=dict(type='ResNet', depth=50, frozen_stages=1, norm_eval=True, style='caffe'))
"""


@pytest.mark.parametrize("text", [CAFFE_TWO, CAFFE_THREE, CAFFE_THREE.replace(", bgr_to_rgb=False", "")])
def test_caffes_networks_have_the_stride_first_and_see_blue_first(text: str) -> None:
    assert sees_blue_first({"config": text})
    found = options({"config": text})
    assert found["backbone"] == {"frozen_stages": 2, "frozen_norm": True, "stride_first": True}
    assert found["preprocess"] == {"mean": (123.675, 116.28, 103.53), "std": (3, 2, 1)}


@pytest.mark.parametrize("meta", [{"config": TWO}, {"cfg": THREE}, {}, {"config": TWO.replace(", to_rgb=True", "")}])
def test_the_others_see_red_first(meta: dict[str, Any]) -> None:
    assert not sees_blue_first(meta)


def test_of_two_places_the_pipeline_counts() -> None:
    pipeline = "test_pipeline = [dict(type='Normalize', mean=[1.0, 2.0, 3.0], std=[1.0, 1.0, 1.0], to_rgb={})]"
    text = "img_norm_cfg = dict(mean=[7.0, 8.0, 9.0], std=[1.0, 1.0, 1.0], to_rgb=True)\n"
    assert options({"config": text + pipeline.format("False")})["preprocess"]["mean"] == (3, 2, 1)
    assert options({"config": text + pipeline.format("True")})["preprocess"]["mean"] == (1, 2, 3)


@pytest.mark.parametrize("recipe", [None, "faster_rcnn_r50_fpn"])
def test_a_checkpoint_of_a_caffe_network(tmp_path: Path, recipe: str | None) -> None:
    """What it finds in an image is what a network that has the stride first and sees blue first finds."""
    theirs = random_detector("faster_rcnn_r50_fpn", backbone={"stride_first": True}).eval()
    torch.save({"meta": {"config": CAFFE_TWO}, "state_dict": mmdetection(theirs.state_dict())}, tmp_path / "x.pth")
    found = import_model(tmp_path / "x.pth", recipe=recipe)
    assert found.report.remapped["backbone.body.conv1.weight"] == "from backbone.conv1.weight, its channels from BGR to RGB"
    assert found.report.remapped["backbone.body.bn1.weight"] == "from backbone.bn1.weight"
    spec: Any = found.spec
    assert spec.backbone.stride_first
    image = torch.randint(0, 256, (3, 128, 160), dtype=torch.uint8)
    small = KeepRatioSpec(short_side=128, long_side=160, mean=(103.53, 116.28, 123.675), std=(1, 2, 3))
    ours = KeepRatio(spec.preprocess.model_copy(update={"short_side": 128, "long_side": 160}))
    with torch.no_grad():
        wanted = theirs.backbone(KeepRatio(small)([image.flip(0)]).tensor)
        features = found.backbone(ours([image]).tensor)
    for stride, map_ in wanted.items():
        torch.testing.assert_close(features[stride], map_, rtol=1e-4, atol=1e-4)


def test_blocks_of_two_convolutions_have_no_style(tmp_path: Path) -> None:
    weights = mmdetection(random_detector().state_dict())
    text = CAFFE_TWO.replace("depth=50", "depth=18")
    torch.save({"meta": {"config": text}, "state_dict": weights}, tmp_path / "x.pth")
    spec: Any = import_model(tmp_path / "x.pth").spec
    assert (spec.backbone.type, spec.backbone.stride_first) == ("resnet18", False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("model = dict(type='RetinaNet')", "model.type = 'RetinaNet'; only 'FasterRCNN' is read"),
        ("model = dict(backbone=dict(style='x'))", "model.backbone.style = 'x'; only 'pytorch' and 'caffe' are read"),
        ("model = dict(data_preprocessor=dict(bgr_to_rgb='x'))", "bgr_to_rgb = 'x'; only True and False are read"),
        ("test_cfg = dict(rcnn=dict(nms=dict(type='soft_nms')))", "test_cfg.rcnn.nms.type = 'soft_nms'; only 'nms'"),
        ("test_pipeline = [dict(type='Resize', keep_ratio=False)]", "Resize.keep_ratio = False; only True"),
        (
            "test_pipeline = [dict(type='Resize', scale=[(9, 9), (8, 8)])]",
            "resizes images to ((9, 9), (8, 8)), which is no single",
        ),
    ],
)
def test_what_the_zoo_has_not_is_refused(text: str, why: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        options({"config": text})
    assert why in str(caught.value)


def test_the_text_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "harm"
    text = f"model = open({str(target)!r}, 'w')\nother = dict(x=[__import__('os').getcwd(), -3, 'a'], **model)\nopen('y', 'w')"
    found = read(text)
    assert found["other"]["x"][1:] == (-3, "a")
    assert not target.exists()
    with pytest.raises(CheckpointError, match="no more than"):
        read(" " * (LONGEST + 1))
    assert read("x = " + "-" * 100_000 + "1") == {}


def test_a_checkpoint_with_a_configuration(tmp_path: Path) -> None:
    anchors = {"proposer": {"scales": (4.0, 8.0), "ratios": (1.0,)}}
    weights = mmdetection(random_detector(**anchors).state_dict())
    torch.save({"meta": {"config": TWO}, "state_dict": weights}, tmp_path / "x.pth")
    spec: Any = import_model(tmp_path / "x.pth").spec
    assert spec.proposer.scales == (4, 8)
    assert (spec.preprocess.long_side, spec.roi_head.least_score, spec.backbone.frozen_norm) == (1000, 0.1, False)
