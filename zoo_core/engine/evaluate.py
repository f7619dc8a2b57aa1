"""A detector against a data set: run it, measure what it finds, and say why when it finds nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from zoo_core.build import plain
from zoo_core.data.loader import evaluation_loader
from zoo_core.data.samples import DetectionData
from zoo_core.detectors.detector import Detector, inference
from zoo_core.engine.coco_metrics import coco_metrics
from zoo_core.engine.voc_metrics import voc_metrics
from zoo_core.errors import InputError, nearest
from zoo_core.types import ANY_LABEL, Detections


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gave. A figure is None where there is no object to find.

    Attributes:
        metrics: COCO's figures (AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl) and voc_mAP50, 0 … 1.
        per_class: for each class name, objects, detections, AP, AP50, AP75, AR100, voc_AP50.
        images: number of images.
        seconds: time for loading the images and running the model, without the metrics.
        detections: one per image, in the order and with the labels of the data set, in original pixels, on the CPU.
        notes: what a reader of the figures should know, in sentences.
    """

    metrics: dict[str, float | None]
    per_class: list[dict[str, Any]]
    images: int
    seconds: float
    detections: list[Detections]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything but the detections, ready for ``json.dumps``."""
        return {
            **self.metrics,
            "per_class": self.per_class,
            "images": self.images,
            "objects": sum(row["objects"] for row in self.per_class),
            "detections": sum(map(len, self.detections)),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }


def evaluate(
    model: Detector,
    data: DetectionData,
    *,
    class_map: Mapping[str, str] | None = None,
    batch_size: int = 1,
    workers: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a detector on a data set.

    The classes of the model and of the data are matched by name; what has no partner does not count, and a note says so.
    The model's modes (training or not, each part on its own) and its device are as before afterwards.

    Args:
        model: the detector.
        data: images and targets.
        class_map: classes of the model that have other names in the data: ``{"person": "Pedestrian"}``.
        batch_size: images that go through the network together.
        workers: processes that load images; 0 loads in this one.
        device: where to run; None leaves the model where it is.
        progress: called with (images done, images in all) after each batch.

    Raises:
        InputError: the model and the data have no class in common, or `class_map` names one that the model has not.
        DataError: an image that cannot be loaded.
    """
    labels, notes = match_classes(renamed(model.class_names, class_map or {}), data.class_names)
    raw = [Detections()] * len(data)
    start, done = time.perf_counter(), 0
    with _on(model, device), inference(model):
        for batch, indices in evaluation_loader(data, model.preprocess, batch_size=batch_size, workers=workers):
            for index, found in zip(indices, model(batch), strict=True):
                raw[index] = found.to("cpu")
            done += len(indices)
            if progress:
                progress(done, len(data))
    seconds = time.perf_counter() - start
    finite = [_finite(found) for found in raw]
    if lost := sum(map(len, raw)) - sum(map(len, finite)):
        notes.append(f"{lost} detections have a box or a score that is not a finite number, and do not count")
    return measure(data, [_relabelled(found, labels) for found in finite], seconds=seconds, notes=notes)


def renamed(class_names: Sequence[str], class_map: Mapping[str, str]) -> list[str]:
    """Return the names of a model's classes, those of `class_map` under their new names.

    Raises:
        InputError: `class_map` names a class that is not among them.
    """
    for name in class_map:
        if name not in class_names:
            raise InputError(f"class map {name}={class_map[name]}: the model has no class '{name}'{nearest(name, class_names)}")
    return [class_map.get(name, name) for name in class_names]


def measure(
    data: DetectionData, detections: Sequence[Detections], *, seconds: float = 0.0, notes: Sequence[str] = ()
) -> Evaluation:
    """Measure detections that are there already: one per image, in the order and with the labels of the data set."""
    coco, voc = coco_metrics(data, detections), voc_metrics(data, detections)
    rows = [
        {
            "name": c.name,
            "objects": c.objects,
            "detections": v.detections,
            **{"AP": c.ap, "AP50": c.ap50, "AP75": c.ap75, "AR100": c.ar100, "voc_AP50": v.ap},
        }
        for c, v in zip(coco.per_class, voc.per_class, strict=True)
    ]
    metrics = {**coco.figures, "voc_mAP50": voc.mean_ap}
    notes = [*notes, *_ignored(data)]
    reasons = explain(data, detections) if (metrics["AP"] or 0.0) < 0.0005 else []
    return Evaluation(metrics, rows, len(data), seconds, list(detections), (*notes, *reasons))


def _ignored(data: DetectionData) -> list[str]:
    count = sum(int((sample.targets.ignored_labels == ANY_LABEL).sum()) for sample in data)
    if not count:
        return []
    return [
        f"{count} regions (objects of other classes, or marked as not to count) are ignored for every class: a detection that "
        "lies in one is neither right nor wrong, so figures may be higher than those of a tool that leaves such objects out"
    ]


def match_classes(model: Sequence[str], data: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Match the class names of a model with those of a data set: exactly, or else but for case, spaces, "_" and "-".

    A model that was never given names ("class 0", "class 1", …) and knows as many classes is matched in order.

    Returns:
        (K,) int64, for each label of the model that of the data, or -1; and notes on what has no partner.

    Raises:
        InputError: not one name is common.
    """
    if list(model) == [f"class {k}" for k in range(len(data))] and not set(model) & set(data):
        return torch.arange(len(data)), [
            f"the model has no names for its classes; taken in the order of the data: {_listed(data)}"
        ]
    place = {name: label for label, name in enumerate(data)}
    loose: dict[str, list[int]] = {}
    for label, name in enumerate(data):
        loose.setdefault(plain(name), []).append(label)
    often = Counter(map(plain, model))
    labels = [place.get(name, -1) for name in model]
    for k, name in enumerate(model):
        candidates = loose.get(plain(name), [])
        if labels[k] < 0 and len(candidates) == 1 and often[plain(name)] == 1:
            labels[k] = candidates[0]
    if max(labels, default=-1) < 0:
        raise InputError(
            f"the model and the data have no class in common: the model knows {_listed(model)}; the data has {_listed(data)}; "
            "evaluate on data that names some of the model's classes (--classes chooses among those of the data)"
        )
    notes = []
    if unknown := [name for name, label in zip(model, labels, strict=True) if label < 0]:
        notes.append(f"detections of {_listed(unknown)} do not count: the data has no such class")
    if missed := [name for label, name in enumerate(data) if label not in labels]:
        notes.append(f"the model does not know {_listed(missed)}; their objects count as missed (--classes leaves classes out)")
    return torch.tensor(labels), notes


def explain(data: DetectionData, detections: Sequence[Detections]) -> list[str]:
    """Return, in plain words, why detections have an average precision of zero or none at all."""
    objects, total = sum(len(sample.targets) for sample in data), sum(map(len, detections))
    if not len(data):
        return ["the data has no images, so there is nothing to measure"]
    if not objects:
        return ["no object of any class is annotated, so there is nothing to find"]
    if not total:
        return [
            f"the model found nothing in {len(data)} images: it is untrained, or has trained too little, "
            "or its score threshold is too high"
        ]
    reasons = []
    best = max(float(found.scores.max()) for found in detections if len(found))
    if best < 0.05:
        reasons.append(f"the best of {total} scores is {best:.3f}: the model is untrained, or has trained too little")
    return reasons + _explain_boxes(data, detections, objects, total)


def _explain_boxes(data: DetectionData, detections: Sequence[Detections], objects: int, total: int) -> list[str]:
    outside, closest, right, confused = _fit(data, detections)
    fitting = right + confused.total()
    reasons = []
    if outside > total / 2:
        reasons.append(f"{outside} of {total} boxes lie outside of their images: they are not in the images' own pixels")
    if closest < 0.5:
        reasons.append(f"no box overlaps an object by half; the best overlap (IoU) is {closest:.2f}")
    elif fitting < objects / 2:
        reasons.append(f"boxes fit {fitting} of {objects} objects, {right} with the right class: the model knows little yet")
    elif confused.total() > right:
        (true, said), count = confused.most_common(1)[0]
        reasons.append(
            f"boxes fit {fitting} of {objects} objects, but with wrong classes, most often '{said}' for '{true}' "
            f"({count} times): are the class names in the order of the training?"
        )
    else:
        reasons.append(f"boxes of the right class fit {right} of {objects} objects, but wrong boxes have higher scores")
    return reasons


def _fit(data: DetectionData, detections: Sequence[Detections]) -> tuple[int, float, int, Counter[tuple[str, str]]]:
    """Return how many boxes are outside, the best IoU, how many objects are found, and those found as (true, said) class."""
    outside, closest, right, confused = 0, 0.0, 0, Counter[tuple[str, str]]()
    for sample, found in zip(data, detections, strict=True):
        height, width = sample.size
        x1, y1, x2, y2 = found.boxes.unbind(1)
        outside += int(((x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height)).sum())
        if not len(found) or not len(sample.targets):
            continue
        overlaps = box_iou(sample.targets.boxes, found.boxes.float())  # (G, N)
        best, place = overlaps.max(dim=1)
        closest = max(closest, float(best.max()))
        agree = ((overlaps >= 0.5) & (sample.targets.labels[:, None] == found.labels)).any(dim=1)
        right += int(agree.sum())
        wrong = (best >= 0.5) & ~agree
        pairs = zip(sample.targets.labels[wrong].tolist(), found.labels[place[wrong]].tolist(), strict=True)
        confused.update((data.class_names[true], data.class_names[said]) for true, said in pairs)
    return outside, closest, right, confused


@contextmanager
def _on(model: Detector, device: torch.device | str | None) -> Iterator[None]:
    home = model.device
    try:
        if device is not None:
            model.to(device)
        yield
    finally:
        model.to(home)


def _finite(found: Detections) -> Detections:
    return found[found.boxes.isfinite().all(dim=1) & found.scores.isfinite()]


def _relabelled(found: Detections, labels: Tensor) -> Detections:
    new = labels[found.labels]
    return Detections(found.boxes, found.scores, new)[new >= 0]


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
