"""What a [yolo] layer of a ``.cfg`` says of its map, and the convolution before it must give."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core.detectors.specs import LONGEST_SIDE, MOST_CLASSES
from zoo_yolo.darknet.cfg import Section
from zoo_yolo.darknet.layers import check, convolution

MOST_ANCHORS = 1000
READ = (
    *("mask", "anchors", "classes", "num", "scale_x_y", "new_coords", "ignore_thresh", "iou_thresh"),
    *("iou_normalizer", "obj_normalizer", "cls_normalizer", "label_smooth_eps"),
)
TRAINING = (
    *("truth_thresh", "jitter", "resize", "random", "max", "map", "max_delta", "objectness_smooth", "delta_normalizer"),
    *("iou_loss", "iou_thresh_kind", "focal_loss", "counters_per_class", "nms_kind", "beta_nms", "show_details", "absolute"),
)
"""Options that are passed over: of training, and of Darknet's own post-processing; suppression is greedy here."""


@dataclass(frozen=True)
class YoloMap:
    """What one [yolo] layer says of its map.

    Attributes:
        stride: pixels from one cell to the next.
        classes: number of classes.
        anchors: (width, height) in pixels of the network's input.
        scale_xy: cells that the centre of a box ranges over.
        square: whether sides are squares of the logistic (`new_coords`) rather than exponentials.
        ignore: overlap (IoU) above which a prediction that answers for nothing counts as no background.
        match: overlap above which further anchors answer for a target, too; 1 for the best anchor alone.
        box_weight, objectness_weight, class_weight: of the losses.
        label_smoothing: how far the class goals are from 1 and 0, together.
        section: where it is written.
    """

    stride: int
    classes: int
    anchors: tuple[tuple[float, float], ...]
    scale_xy: float
    square: bool
    ignore: float
    match: float
    box_weight: float
    objectness_weight: float
    class_weight: float
    label_smoothing: float
    section: Section


def yolo_map(section: Section, before: Section | None, stride: int) -> YoloMap:
    """Return what a [yolo] says, `before` being the section before it and `stride` that of its map.

    Raises:
        DataError: options that do not fit each other or the convolution before; names the line.
    """
    if before is None or before.name != "convolutional":
        raise section.error("a [yolo] must follow a [convolutional]")
    check(section, *READ, ignored=TRAINING)
    found = YoloMap(
        stride=stride,
        classes=section.integer("classes", least=1, most=MOST_CLASSES),
        anchors=_anchors(section),
        scale_xy=section.number("scale_x_y", 1.0, least=1.0, most=10.0),
        square=bool(section.integer("new_coords", 0, most=1)),
        ignore=section.number("ignore_thresh", 0.5, most=1.0),
        match=section.number("iou_thresh", 1.0, most=1.0),
        box_weight=section.number("iou_normalizer", 0.75),
        objectness_weight=section.number("obj_normalizer", 1.0, least=1e-6),
        class_weight=section.number("cls_normalizer", 1.0),
        label_smoothing=section.number("label_smooth_eps", 0.0, most=1.0),
        section=section,
    )
    _check_detection(before, found)
    return found


def _anchors(section: Section) -> tuple[tuple[float, float], ...]:
    """Return the anchors of a [yolo]: of all that it lists those in its mask."""
    count = section.integer("num", least=1, most=MOST_ANCHORS)
    numbers = section.numbers("anchors")
    if len(numbers) != 2 * count:
        raise section.error(f"num={count} needs {2 * count} numbers in anchors, got {len(numbers)}", "anchors")
    if not 0 < min(numbers) <= max(numbers) <= LONGEST_SIDE:
        wrong = next(number for number in numbers if not 0 < number <= LONGEST_SIDE)
        raise section.error(f"anchors are widths and heights above 0, {LONGEST_SIDE:,} at most, got {wrong:,g}", "anchors")
    mask = section.integers("mask", ",".join(map(str, range(count))))
    if len(set(mask)) < len(mask) or not all(0 <= k < count for k in mask):
        shown = ",".join(map(str, mask))
        raise section.error(f"mask must choose different ones of the anchors 0 … {count - 1}, got {shown[:80]}", "mask")
    return tuple((numbers[2 * k], numbers[2 * k + 1]) for k in mask)


def _check_detection(section: Section, yolo: YoloMap) -> None:
    """Raise unless a convolution gives what the [yolo] after it reads."""
    found = convolution(section)
    wanted = "logistic" if yolo.square else "linear"
    if found.activation != wanted:
        told = f"before a [yolo] {'with' if yolo.square else 'without'} new_coords the activation must be {wanted}"
        raise section.error(f"{told}, not {found.activation}", "activation")
    if (found.size, found.stride, found.padding, found.groups, found.norm) != (1, 1, 0, 1, False):
        raise section.error("before a [yolo] it must have size=1, stride=1, no padding, no groups and no batch_normalize")
    anchors, need = len(yolo.anchors), len(yolo.anchors) * (5 + yolo.classes)
    if found.filters != need:
        told = f"filters must be {anchors} anchors * (5 + {yolo.classes} classes) = {need} before the [yolo]"
        raise section.error(f"{told} of line {yolo.section.line}, got {found.filters}", "filters")
