"""YOLOv3's boxes, scores and suppression, as MMDetection has them.

MMDetection first keeps the 1000 best class scores of an image, of places with some objectness, and ranks these by the product
of the two; here the product alone decides. So the other classes are silenced in the maps before they are compared.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.golden.record import Record, batch_of, close, equal
from zoo_core.types import Detections, ImageBatch
from zoo_yolo.head.specs import YoloHeadSpec
from zoo_yolo.head.yolo_head import YoloHead, YoloOutput

pytestmark = pytest.mark.shared
STRIDES = (32, 16, 8)


def anchors(record: Callable[[str], Record]) -> list[list[list[float]]]:
    """Return the recorded anchors (width, height) of each map, by ascending stride."""
    base = reversed(record("yolov3_head").levels("base_anchors"))
    return [(boxes[:, 2:] - boxes[:, :2]).tolist() for boxes in base]


def preselected(maps: list[Tensor], objectness: float, score: float, most: int) -> list[Tensor]:
    """Return the maps with the logits of all classes lowered that MMDetection does not look at."""
    maps = [map_.clone() for map_ in maps]
    rows = [map_.unflatten(1, (3, 25)) for map_ in maps]
    for image in range(len(maps[0])):
        silent = [row[image, :, 4:5].sigmoid() < objectness for row in rows]
        scores = [row[image, :, 5:].sigmoid().masked_fill(quiet, 0) for row, quiet in zip(rows, silent, strict=True)]
        least = torch.cat([s.flatten() for s in scores]).topk(most).values[-1].clamp(min=score)
        for row, values in zip(rows, scores, strict=True):
            row[image, :, 5:][values < least] = -100.0
    return maps


def decoded(record: Callable[[str], Record], maps: list[Tensor], batch: ImageBatch) -> list[Detections]:
    """Return the detections of a head with the recorded settings, not clipped."""
    settings = record("e2e_yolov3").settings["test_cfg"]
    spec = YoloHeadSpec(
        anchors=anchors(record),
        box="exponential",
        scale_xy=1.0,
        least_score=settings["score_thr"] * settings["conf_thr"],
        nms_iou=settings["nms"]["iou_threshold"],
        most_detections=settings["max_per_img"],
        clip=False,
    )
    head = YoloHead(spec, dict.fromkeys(sorted(STRIDES), 1), 20)
    maps = preselected(maps, settings["conf_thr"], settings["score_thr"], settings["nms_pre"])
    return head.decode(YoloOutput(dict(zip(STRIDES, maps, strict=True))), batch)


def same(found: Detections, boxes: Tensor, scores: Tensor, labels: Tensor) -> None:
    close(found.scores, scores)
    close(found.boxes, boxes, atol=1e-3)
    equal(found.labels, labels)


def test_detections(record: Callable[[str], Record]) -> None:
    wanted = record("yolov3_head")
    batch = batch_of(wanted.settings["img_metas"])
    for image, found in enumerate(decoded(record, wanted.levels("predict.pred_maps"), batch)):
        case = wanted.under(f"predict.rescale0.{image}")
        same(found, case["bboxes"], case["scores"], case["labels"])


def test_detections_of_a_whole_network(record: Callable[[str], Record]) -> None:
    wanted = record("e2e_yolov3")
    frame = torch.zeros(wanted.settings["image"])
    sizes = ((frame.shape[2], frame.shape[3]),)
    (found,) = decoded(record, wanted.levels("pred_maps"), ImageBatch(frame, sizes, sizes, sizes))
    same(found, wanted["dets.bboxes"], wanted["dets.scores"], wanted["dets.labels"])


def test_priors(record: Callable[[str], Record]) -> None:
    wanted = record("yolov3_head")
    head = YoloHead(YoloHeadSpec(anchors=anchors(record)), dict.fromkeys(sorted(STRIDES), 1), 20)
    raw = YoloOutput(dict(zip(STRIDES, wanted.levels("pred_maps"), strict=True)))
    for level, map_ in enumerate(reversed(head.anchor_maps(raw))):
        priors = map_.priors()
        assert len(priors) == wanted.settings["num_priors"][level]
        close(priors[:20], wanted[f"priors.head.{level}"])
        close(priors[-20:], wanted[f"priors.tail.{level}"])
