from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo_core.data.samples import DetectionData, Sample
from zoo_core.engine.voc_metrics import VOCClass, mean_average_precision, voc_metrics
from zoo_core.errors import InputError
from zoo_core.types import ANY_LABEL, Detections, Targets


def boxes(rows: list[Any]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def labels(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


def image(row: dict[str, Any]) -> tuple[Detections, Targets]:
    rows = [(*det, label) for label, dets in enumerate(row["dets"]) for det in dets]
    truth = (boxes(row["bboxes"]), labels(row["labels"]), boxes(row["bboxes_ignore"]), labels(row["labels_ignore"]))
    return found(*rows), Targets(*truth)


@pytest.mark.shared
@pytest.mark.parametrize("case", range(6))
def test_equals_the_reference(shared: Path, case: int) -> None:
    reference = json.loads((shared / "golden" / "mmdet" / "eval_map.json").read_text())
    detections, targets = zip(*map(image, reference["images"]), strict=True)
    expected = reference["results"][case]
    arguments = expected["args"]
    scales = arguments.get("scale_ranges", [None])
    for row, scale in enumerate(scales):
        metrics = mean_average_precision(
            detections,
            targets,
            reference["num_classes"],
            arguments["iou_thr"],
            mode=arguments.get("eval_mode", "area"),
            legacy=arguments.get("use_legacy_coordinate", False),
            scale=scale,
        )

        def at(value: Any, row: int = row, many: bool = scale is not None) -> Any:
            return value[row] if many else value

        assert metrics.mean_ap == pytest.approx(at(expected["mean_ap"]), abs=1e-5)
        for mine, theirs in zip(metrics.per_class, expected["per_class"], strict=True):
            assert (mine.objects, mine.detections) == (at(theirs["num_gts"]), theirs["num_dets"])
            assert mine.ap == pytest.approx(at(theirs["ap"]), abs=1e-5)


CAT = Targets(boxes([[0, 0, 50, 50]]), labels([0]))


def test_an_object_is_found_once_and_by_the_best() -> None:
    twice = found((0, 0, 50, 49, 0.4, 0), (0, 0, 50, 50, 0.9, 0), (60, 60, 90, 90, 0.8, 0))
    assert mean_average_precision([twice], [CAT], 1).per_class == (VOCClass(1, 3, 1.0),)
    late = found((0, 0, 50, 50, 0.7, 0), (60, 60, 90, 90, 0.8, 0))
    assert mean_average_precision([late], [CAT], 1).mean_ap == 0.5


def test_the_threshold_is_included_and_classes_do_not_mix() -> None:
    half = [found((0, 0, 50, 25, 0.9, 0))]
    assert mean_average_precision(half, [CAT], 1, 0.5).mean_ap == 1.0
    assert mean_average_precision(half, [CAT], 1, 0.51).mean_ap == 0.0
    other = mean_average_precision([found((0, 0, 50, 50, 0.9, 1))], [CAT], 2)
    assert other.per_class == (VOCClass(1, 0, 0.0), VOCClass(0, 1, None))
    assert other.mean_ap == 0.0


def test_legacy_pixels_are_one_wider() -> None:
    truth, near = Targets(boxes([[0, 0, 9, 0]]), labels([0])), [found((0, 0, 4, 0, 0.9, 0))]
    assert mean_average_precision(near, [truth], 1, legacy=True).mean_ap == 1.0  # 5 of 10 pixels
    assert mean_average_precision(near, [truth], 1).mean_ap == 0.0  # no area


def test_eleven_points() -> None:
    truth = Targets(boxes([[10 * k, 0, 10 * k + 10, 10] for k in range(10)]), labels([0] * 10))
    three = [found(*((10 * k, 0, 10 * k + 10, 10, 0.9, 0) for k in range(3)))]  # recall 3/10 reaches the points 0 … 0.3
    assert mean_average_precision(three, [truth], 1, mode="11points").mean_ap == pytest.approx(4 / 11)
    assert mean_average_precision(three, [truth], 1).mean_ap == pytest.approx(0.3)


@pytest.mark.parametrize(("label", "size", "ap"), [(0, 20, 1.0), (0, 10, 1 / 3), (1, 20, 1 / 3)])
def test_ignored_boxes_are_matched_as_objects(label: int, size: int, ap: float) -> None:
    truth = Targets(CAT.boxes, CAT.labels, boxes([[60, 0, 80, 20]]), labels([label]))
    near = (60, 0, 60 + size, size)
    dets = found((*near, 0.9, 0), (*near, 0.8, 0), (0, 0, 50, 50, 0.7, 0))
    assert mean_average_precision([dets], [truth], 2).per_class[0].ap == pytest.approx(ap)


def test_regions_for_every_class_forgive_what_lies_in_them() -> None:
    truth = Targets(CAT.boxes, CAT.labels, boxes([[0, 0, 100, 100]]), labels([ANY_LABEL]))
    within = found((60, 60, 65, 65, 0.9, 0), (0, 0, 50, 50, 0.8, 0), (0, 0, 50, 49, 0.7, 0), (90, 90, 300, 300, 0.1, 0))
    assert mean_average_precision([within], [truth], 1).mean_ap == 1.0
    outside = found((90, 90, 110, 110, 0.9, 0), (0, 0, 50, 50, 0.8, 0))
    assert mean_average_precision([outside], [truth], 1).mean_ap == 0.5


def test_scale_is_half_open_and_leaves_out_objects_and_strays() -> None:
    truth = Targets(boxes([[0, 0, 20, 20], [30, 30, 70, 70]]), labels([0, 0]))
    dets = [found((0, 0, 20, 20, 0.9, 0), (80, 80, 90, 90, 0.95, 0), (30, 30, 70, 70, 0.8, 0))]
    assert mean_average_precision(dets, [truth], 1, scale=(20, 40)).per_class[0] == VOCClass(1, 3, 1.0)
    assert mean_average_precision(dets, [truth], 1, scale=(40, 99)).per_class[0] == VOCClass(1, 3, 1.0)
    assert mean_average_precision(dets, [truth], 1, scale=(0, 40)).per_class[0] == VOCClass(1, 3, 0.5)


def test_detections_out_of_scale_are_wrong_only_on_an_object_in_it() -> None:
    truth = Targets(boxes([[0, 0, 50, 50]]), labels([0]))
    right, twice, stray = (0, 0, 50, 50, 0.5, 0), (0, 0, 50, 30, 0.9, 0), (60, 60, 120, 120, 0.9, 0)
    assert mean_average_precision([found(right, stray)], [truth], 1, scale=(45, 60)).mean_ap == 1.0
    assert mean_average_precision([found(right, twice)], [truth], 1, 0.7, scale=(45, 60)).mean_ap == 1.0
    better = (0, 0, 50, 50, 0.95, 0)
    both = Targets(boxes([[0, 0, 50, 50], [100, 0, 150, 50]]), labels([0, 0]))
    dets = found(better, twice, (100, 0, 150, 50, 0.5, 0))  # the second hits an object that is found already
    assert mean_average_precision([dets], [both], 1, scale=(45, 60)).mean_ap == pytest.approx((1 + 2 / 3) / 2)


def test_equal_scores_keep_their_order() -> None:
    rows = [(0, 0, 50, 50, 0.5, 0), *[(60, 60, 90, 90, 0.5, 0)] * 99]
    assert mean_average_precision([found(*rows)], [CAT], 1).mean_ap == 1.0
    assert mean_average_precision([found(*rows[::-1])], [CAT], 1).mean_ap == pytest.approx(0.01)


def test_nothing() -> None:
    assert mean_average_precision([], [], 2).mean_ap is None
    assert mean_average_precision([Detections()], [Targets()], 2).per_class == (VOCClass(0, 0, None),) * 2
    assert mean_average_precision([Detections()], [CAT], 1).per_class == (VOCClass(1, 0, 0.0),)
    assert mean_average_precision([Detections()], [CAT], 1, mode="11points").mean_ap == 0.0
    assert mean_average_precision([found((0, 0, 9, 9, 0.5, 0))], [Targets()], 1).per_class == (VOCClass(0, 1, None),)


def test_on_a_data_set() -> None:
    samples = [Sample(k, (100, 100), CAT) for k in range(2)]
    data = DetectionData(("cat", "dog"), samples, (1, 2), "made", "val", "none")
    metrics = voc_metrics(data, [found((0, 0, 50, 50, 0.9, 0)), Detections()], 0.5)
    assert metrics.per_class == (VOCClass(2, 1, 0.5), VOCClass(0, 0, None))
    with pytest.raises(InputError, match="1 detections for 2 images"):
        voc_metrics(data, [Detections()])


def test_an_unknown_mode() -> None:
    with pytest.raises(InputError, match="no mode '11point'; did you mean '11points'"):
        mean_average_precision([], [], 1, mode="11point")  # type: ignore[arg-type]


def test_one_of_each_per_image() -> None:
    with pytest.raises(InputError, match="0 detections for 1 images"):
        mean_average_precision([], [CAT], 1)
