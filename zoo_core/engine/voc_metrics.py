"""Average precision as in PASCAL VOC: one IoU threshold, each object found once, best detections first.

Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010, section 4.2; the area under the whole curve since
VOC 2010, 11 points of it in VOC 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoo_core.data.samples import DetectionData
from zoo_core.engine.results import check_detections
from zoo_core.errors import InputError, nearest
from zoo_core.types import ANY_LABEL, Detections, Targets

Array: TypeAlias = NDArray[Any]
Mode: TypeAlias = Literal["area", "11points"]
MODES = ("area", "11points")


@dataclass(frozen=True, slots=True)
class VOCClass:
    """The figures of one class; `ap` is None for a class without objects."""

    objects: int
    detections: int
    ap: float | None


@dataclass(frozen=True, slots=True)
class VOCMetrics:
    """Figures by class, and the mean AP over the classes that have objects (None when none has)."""

    mean_ap: float | None
    per_class: tuple[VOCClass, ...]


def voc_metrics(
    data: DetectionData,
    detections: Sequence[Detections],
    iou: float = 0.5,
    *,
    mode: Mode = "area",
    legacy: bool = False,
    scale: tuple[float, float] | None = None,
) -> VOCMetrics:
    """Return the average precision of detections on a data set.

    Args:
        data: the data set.
        detections: one per image, in the order of the data set, in the pixels of the original images.
        iou: see `mean_average_precision`, as for the other options.
        mode: "area" or "11points".
        legacy: whether width = x2 - x1 + 1.
        scale: sizes of the objects that count.

    Raises:
        InputError: the detections do not belong to the data set, or no such mode.
    """
    check_detections(data, detections)
    targets = [data[index].targets for index in range(len(data))]
    return mean_average_precision(detections, targets, len(data.class_names), iou, mode=mode, legacy=legacy, scale=scale)


def mean_average_precision(
    detections: Sequence[Detections],
    targets: Sequence[Targets],
    num_classes: int,
    iou: float = 0.5,
    *,
    mode: Mode = "area",
    legacy: bool = False,
    scale: tuple[float, float] | None = None,
) -> VOCMetrics:
    """Return the average precision of detections against targets, one of each per image.

    Each detection looks at the object or ignored box of its class that it overlaps most. Is the overlap at least `iou`, it has
    found that object if no better-scored one has, and is wrong otherwise; on an ignored box, or an object out of `scale`, it is
    neither. Regions ignored for every class (`ANY_LABEL`) are not boxes: a wrong detection with a share of at least `iou` of
    its area in one is neither, as with COCO's crowds and KITTI's DontCare.

    Args:
        detections: what was found, in the pixels of `targets`.
        targets: what is there.
        num_classes: labels are below it.
        iou: the overlap from which on an object is found.
        mode: "area" under the curve made monotone, or the mean of "11points" of it.
        legacy: whether width = x2 - x1 + 1, the pixels of the VOC development kit.
        scale: [low, high) of the square root of the area, in pixels, of objects that count.

    Raises:
        InputError: no such mode, or not as many detections as targets.
    """
    if mode not in MODES:
        raise InputError(f"no mode '{mode}'{nearest(mode, MODES)} (the modes are {' and '.join(map(repr, MODES))})")
    if len(detections) != len(targets):
        raise InputError(f"{len(detections)} detections for {len(targets)} images; there must be one for each image, in order")
    low, high = (0.0, np.inf) if scale is None else (scale[0] ** 2, scale[1] ** 2)
    images = [_match(*pair, iou, int(legacy), (low, high)) for pair in zip(detections, targets, strict=True)]
    offsets = np.cumsum([0, *(len(image.object_labels) for image in images)])
    images = [image._replace(found=image.found + offset) for image, offset in zip(images, offsets[:-1], strict=True)]
    if not images:
        return VOCMetrics(None, tuple(VOCClass(0, 0, None) for _ in range(num_classes)))
    rows = _Matches(*(np.concatenate(column) for column in zip(*images, strict=True)))
    per_class = tuple(_class(rows, label, mode) for label in range(num_classes))
    known = [c.ap for c in per_class if c.ap is not None]
    return VOCMetrics(float(np.mean(known)) if known else None, per_class)


class _Matches(NamedTuple):
    """The objects and the detections of one or of all images, in rows. The `found` of a miss is not used."""

    object_labels: Array  # (G,)
    object_counts: Array  # (G,) bool, False when ignored
    labels: Array  # (N,)
    scores: Array  # (N,)
    hit: Array  # (N,) bool, overlaps enough with an object
    found: Array  # (N,) which
    neutral: Array  # (N,) bool, not wrong even if it has found nothing


def _match(detections: Detections, targets: Targets, iou: float, extra: int, areas: tuple[float, float]) -> _Matches:
    boxes, labels = _array(detections.boxes), _array(detections.labels)
    ignored, ignored_labels = _array(targets.ignored), _array(targets.ignored_labels)
    is_box = ignored_labels != ANY_LABEL
    objects = np.concatenate([_array(targets.boxes), ignored[is_box]])
    object_labels = np.concatenate([_array(targets.labels), ignored_labels[is_box]])
    object_areas = _areas(objects, extra)
    counts = (object_areas >= areas[0]) & (object_areas < areas[1]) & (np.arange(len(objects)) < len(targets))

    own_areas = _areas(boxes, extra)
    found, hit = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), bool)
    if len(objects) and len(boxes):
        shared = _intersections(boxes, objects, extra)
        overlap = shared / np.maximum(own_areas[:, None] + object_areas - shared, 1e-6)
        overlap[labels[:, None] != object_labels] = -1.0
        found = overlap.argmax(axis=1)
        hit = overlap[np.arange(len(boxes)), found] >= iou
    regions = ignored[~is_box]
    neutral = (_intersections(boxes, regions, extra) >= iou * np.maximum(own_areas, 1e-6)[:, None]).any(axis=1)
    neutral |= ~hit & ((own_areas < areas[0]) | (own_areas >= areas[1]))
    return _Matches(object_labels, counts, labels, _array(detections.scores), hit, found, neutral)


def _class(rows: _Matches, label: int, mode: Mode) -> VOCClass:
    mine = np.flatnonzero(rows.labels == label)
    objects = int(np.count_nonzero(rows.object_counts & (rows.object_labels == label)))
    if not objects:
        return VOCClass(0, len(mine), None)
    mine = mine[np.argsort(-rows.scores[mine], kind="stable")]
    hit, found = rows.hit[mine], rows.found[mine]
    good = np.zeros(len(mine), bool)
    hits = np.flatnonzero(hit)
    good[hits[np.unique(found[hits], return_index=True)[1]]] = True  # the first, so the best, on each object
    ignored = np.zeros(len(mine), bool)
    ignored[hits] = ~rows.object_counts[found[hits]]
    wrong = ~good & ~ignored & ~rows.neutral[mine]
    true, false = np.cumsum(good & ~ignored), np.cumsum(wrong)
    recall, precision = true / objects, true / np.maximum(true + false, 1)
    return VOCClass(objects, len(mine), _average(recall, precision, mode))


def _average(recall: Array, precision: Array, mode: Mode) -> float:
    """Return the mean precision over recalls 0 … 1, where precision is the best at that recall or a higher one."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    if mode == "area":
        return float((np.diff(recall, prepend=0.0) * best).sum())
    points = np.linspace(0.0, 1.0, 11)
    places = np.searchsorted(recall, points - 1e-9)  # a recall of 3/10 is to reach the point 0.3 whatever its last bit
    return float(np.append(best, 0.0)[places].mean())


def _array(tensor: Tensor) -> Array:
    tensor = tensor.detach().cpu()
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def _areas(boxes: Array, extra: int) -> Array:
    return np.asarray((boxes[:, 2:] - boxes[:, :2] + extra).prod(axis=1))


def _intersections(a: Array, b: Array, extra: int) -> Array:
    corners = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2]) + extra  # (N, M, 2)
    return np.asarray(np.maximum(corners, 0.0).prod(axis=2))
