"""The twelve figures of COCO, and a table by class, computed by pycocotools itself.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; https://cocodataset.org/#detection-eval.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from zoo_core.data.samples import DetectionData, Sample
from zoo_core.engine.results import coco_results
from zoo_core.types import ANY_LABEL, Detections

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's figures in the order in which pycocotools gives them."""


@dataclass(frozen=True, slots=True)
class COCOClass:
    """The figures of one class over all sizes, None where there is no object; `objects` counts those that are not crowds."""

    name: str
    objects: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    ar100: float | None


@dataclass(frozen=True, slots=True)
class COCOMetrics:
    """`figures` by the names of `FIGURES`, None where there is no object to find, and one row for each class."""

    figures: dict[str, float | None]
    per_class: tuple[COCOClass, ...]


def coco_metrics(data: DetectionData, detections: Sequence[Detections]) -> COCOMetrics:
    """Return COCO's figures for detections on a data set.

    Ignored regions are crowds: detections in them are neither right nor wrong. The figures are those that pycocotools gives for
    the data set's own COCO file, to the last bit, where all its classes count. Objects of classes that do not count are regions
    for `ANY_LABEL`, crowds of each class; pycocotools would leave them out, and take a detection on one for wrong.

    Args:
        data: the data set.
        detections: one per image, in the order of the data set, in the pixels of the original images.

    Raises:
        InputError: the detections do not belong to the data set.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        result = _evaluate(data, detections)
        result.summarize()
    figures = {name: _known(value) for name, value in zip(FIGURES, result.stats, strict=True)}
    place = {category: row for row, category in enumerate(result.params.catIds)}
    objects = dict.fromkeys(result.params.catIds, 0)
    for annotation in result.cocoGt.dataset["annotations"]:
        objects[annotation["category_id"]] += not annotation["iscrowd"]
    precision = result.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class) over all sizes, 100 detections
    recall = result.eval["recall"][:, :, 0, -1]  # (IoU, class)
    rows = []
    for name, category in zip(data.class_names, data.category_ids, strict=True):
        row = place[category]
        parts = (precision[:, :, row], precision[0, :, row], precision[5, :, row], recall[:, row])  # 5 is IoU 0.75
        rows.append(COCOClass(name, objects[category], *(_known(np.mean(part)) for part in parts)))
    return COCOMetrics(figures, tuple(rows))


def _known(value: float) -> float | None:
    return None if value < 0 else float(value)  # pycocotools says -1 where there is no object


def _evaluate(data: DetectionData, detections: Sequence[Detections]) -> Any:
    samples = [data[index] for index in range(len(data))]
    # pycocotools ranks equal scores by image id; an id may be a name, so give numbers in the order of the ids
    order = sorted(range(len(samples)), key=lambda index: _rank(samples[index], index))
    number = {index: place for place, index in enumerate(order, start=1)}
    images = [{"id": place + 1, "height": samples[i].size[0], "width": samples[i].size[1]} for place, i in enumerate(order)]
    categories = [{"id": c, "name": n} for c, n in zip(data.category_ids, data.class_names, strict=True)]

    truth = [a for index in order for a in _annotations(samples[index], number[index], data.category_ids)]
    results = coco_results(data, detections)
    places = [number[index] for index, found in enumerate(detections) for _ in range(len(found))]
    for place, result in zip(places, results, strict=True):
        result.update(image_id=place, area=result["bbox"][2] * result["bbox"][3], iscrowd=0)
    evaluator = COCOeval(_coco(images, categories, truth), _coco(images, categories, results), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator


def _rank(sample: Sample, index: int) -> tuple[int, int]:
    return (sample.image_id, index) if isinstance(sample.image_id, int) else (0, index)


def _coco(images: list[dict[str, Any]], categories: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> Any:
    for number, annotation in enumerate(annotations, start=1):  # pycocotools takes an id of 0 for "not matched"
        annotation["id"] = number
    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco


def _annotations(sample: Sample, image: int, categories: Sequence[int]) -> Iterator[dict[str, Any]]:
    targets = sample.targets
    boxes = _xywh(targets.boxes)
    areas = boxes[:, 2] * boxes[:, 3] if sample.areas is None else _decimals(sample.areas)
    for box, label, area in zip(boxes.tolist(), targets.labels.tolist(), areas.tolist(), strict=True):
        yield {"image_id": image, "category_id": categories[label], "bbox": box, "area": area, "iscrowd": 0}
    for box, label in zip(_xywh(targets.ignored).tolist(), targets.ignored_labels.tolist(), strict=True):
        for category in categories if label == ANY_LABEL else (categories[label],):
            yield {"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 1}


def _xywh(boxes: Tensor) -> NDArray[np.float64]:
    corners = _decimals(boxes)
    sizes = np.round(corners[:, 2:] - corners[:, :2], 9)  # 320.93 - 250.82 is 70.11, not 70.11000000000001
    return np.concatenate([corners[:, :2], sizes], axis=1)


def _decimals(values: Tensor) -> NDArray[np.float64]:
    """Return numbers in double precision, those of single precision as the shortest decimals that they stand for.

    A file says 250.82; in float32 that is 250.82000732…, enough for an IoU at a threshold to fall on its other side.
    """
    array = values.detach().cpu().numpy()
    return array if array.dtype == np.float64 else array.astype(np.float32).astype(str).astype(np.float64)
