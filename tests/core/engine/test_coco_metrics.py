from __future__ import annotations

import contextlib
import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo_core.data.coco import Coco
from zoo_core.data.samples import DetectionData, Sample, Skipped
from zoo_core.data.specs import CocoSpec
from zoo_core.engine.coco_metrics import FIGURES, coco_metrics
from zoo_core.engine.results import coco_results
from zoo_core.errors import InputError
from zoo_core.types import ANY_LABEL, Detections, Targets


def dataset(*targets: Targets, classes: tuple[str, ...] = ("cat", "dog"), areas: Tensor | None = None) -> DetectionData:
    samples = [Sample(f"image {i}", (100, 100), t, areas=areas) for i, t in enumerate(targets)]
    return DetectionData(classes, samples, tuple(range(1, len(classes) + 1)), "made", "val", "none")


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


def boxes(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def perturbed(data: DetectionData, seed: int, kind: str) -> list[Detections]:
    """Boxes near the true ones, some of a wrong class; on a grid, so that overlaps and scores are often tied."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for sample in data:
        near = torch.cat([sample.targets.boxes, sample.targets.ignored])
        labels = torch.cat([sample.targets.labels, sample.targets.ignored_labels])
        copies = torch.randint(0, 4, (len(near),), generator=generator)
        near, labels = near.repeat_interleave(copies, 0), labels.repeat_interleave(copies)
        near = near + torch.randn(near.shape, generator=generator) * 0.1 * (near[:, 2:] - near[:, :2]).repeat(1, 2)
        scores = torch.rand(len(near), generator=generator)
        if kind == "grid":
            near, scores = near.round(), (scores * 10).round() / 10
        near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2] + 1)
        wrong = torch.rand(len(near), generator=generator) < 0.15
        labels = torch.where(wrong, torch.randint(0, len(data.class_names), labels.shape, generator=generator), labels)
        found.append(Detections(near, scores, labels))
    return found


def official(path: Path, results: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluator = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "seed", "kind"),
    [("coco_tiny80", 0, "free"), ("coco_tiny80", 1, "grid"), ("coco_tiny80", 7, "grid"), ("coco128_lightly", 2, "grid")],
)
def test_equals_pycocotools_on_the_official_file(shared: Path, folder: str, seed: int, kind: str) -> None:
    root = shared / "data" / folder
    data = Coco(CocoSpec()).read(root, "val2017", None, Skipped())
    found = perturbed(data, seed, kind)
    metrics = coco_metrics(data, found)
    evaluator = official(root / "annotations" / "instances_val2017.json", coco_results(data, found))
    assert [-1.0 if v is None else v for v in metrics.figures.values()] == list(evaluator.stats)
    assert tuple(metrics.figures) == FIGURES
    for row, category in enumerate(evaluator.params.catIds):
        mine = metrics.per_class[data.category_ids.index(category)]
        theirs = evaluator.eval["precision"][:, :, row, 0, 2].mean()
        assert (-1.0 if mine.ap is None else mine.ap) == theirs
        annotations = evaluator.cocoGt.getAnnIds(catIds=[category], iscrowd=False)
        assert mine.objects == len(annotations)


def test_perfect_detections_and_a_class_without_objects() -> None:
    data = dataset(Targets(boxes((10, 10, 60, 60)), torch.tensor([0])))
    metrics = coco_metrics(data, [detections((10, 10, 60, 60, 0.9, 0))])
    assert metrics.figures["AP"] == pytest.approx(1.0)
    assert metrics.figures["APm"] == pytest.approx(1.0)
    assert metrics.figures["APs"] is None
    cat, dog = metrics.per_class
    assert (cat.name, cat.objects) == ("cat", 1)
    assert [cat.ap, cat.ap50, cat.ap75, cat.ar100] == pytest.approx([1.0, 1.0, 1.0, 1.0])
    assert (dog.name, dog.objects, dog.ap, dog.ap50, dog.ap75, dog.ar100) == ("dog", 0, None, None, None, None)


def test_thresholds_of_the_table_by_class() -> None:
    data = dataset(Targets(boxes((0, 0, 100, 100)), torch.tensor([0])))
    row = coco_metrics(data, [detections((0, 0, 100, 72, 0.9, 0))]).per_class[0]  # IoU 0.72: found at 5 thresholds of 10
    assert [row.ap, row.ap50, row.ap75, row.ar100] == pytest.approx([0.5, 1.0, 0.0, 0.5])


def test_nothing_found() -> None:
    data = dataset(Targets(boxes((10, 10, 60, 60)), torch.tensor([0])))
    assert coco_metrics(data, [Detections()]).figures["AP"] == 0.0


@pytest.mark.parametrize(
    "targets", [(), (Targets(),), (Targets(ignored=boxes((0, 0, 9, 9)), ignored_labels=torch.tensor([0])),)]
)
def test_nothing_there(targets: tuple[Targets, ...]) -> None:
    metrics = coco_metrics(dataset(*targets), [detections((1, 1, 5, 5, 0.9, 0)) for _ in targets])
    assert set(metrics.figures.values()) == {None}
    assert [row.objects for row in metrics.per_class] == [0, 0]


@pytest.mark.parametrize(("ignored", "forgiven"), [(None, ()), (ANY_LABEL, (0, 1)), (0, (0,)), (1, (1,))])
def test_ignored_regions_hold_for_their_class(ignored: int | None, forgiven: tuple[int, ...]) -> None:
    region = {} if ignored is None else {"ignored": boxes((50, 0, 100, 50)), "ignored_labels": torch.tensor([ignored])}
    data = dataset(Targets(boxes((0, 0, 20, 20), (0, 50, 20, 70)), torch.tensor([0, 1]), **region))
    right = [(0, 0, 20, 20, 0.5, 0), (0, 50, 20, 70, 0.5, 1)]
    for label in (0, 1):
        wrong = (60.0, 10.0, 70.0, 20.0, 0.9, label)
        rows = coco_metrics(data, [detections(*right, wrong)]).per_class
        assert rows[label].ap == pytest.approx(1.0 if label in forgiven else 0.5)
        assert rows[1 - label].ap == pytest.approx(1.0)


def test_the_first_object_is_matched_like_any_other() -> None:
    data = dataset(Targets(boxes((0, 0, 50, 50)), torch.tensor([0])))
    twice = detections((0, 0, 50, 50, 0.9, 0), (0, 0, 50, 50, 0.8, 0), (0, 0, 50, 49, 0.7, 0))
    assert coco_metrics(data, [twice]).figures["AR100"] == pytest.approx(1.0)


def test_stated_areas_decide_the_size() -> None:
    truth = Targets(boxes((0, 0, 40, 40)), torch.tensor([0]))
    found = [detections((0, 0, 40, 40, 0.9, 0))]
    assert coco_metrics(dataset(truth), found).figures["APs"] is None
    assert coco_metrics(dataset(truth, areas=torch.tensor([900.0])), found).figures["APs"] == pytest.approx(1.0)


def test_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    coco_metrics(dataset(Targets()), [Detections()])
    assert capsys.readouterr() == ("", "")


def test_a_thousand_detections_and_boxes_of_one_pixel() -> None:
    corner = torch.randint(0, 99, (1000, 2), generator=torch.Generator().manual_seed(0)).float()
    found = Detections(torch.cat([corner, corner + 1], dim=1), torch.linspace(1, 0, 1000), torch.zeros(1000, dtype=torch.int64))
    data = dataset(Targets(found.boxes[:1], torch.tensor([0])))
    assert coco_metrics(data, [found]).figures["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize("found", [[], [detections((0, 0, 9, 9, 0.5, 2))], [detections((0, 0, 9, 9, 0.5, -1))]])
def test_detections_of_other_data_are_refused(found: list[Detections]) -> None:
    with pytest.raises(InputError, match=r"0 detections for 1 images|labels (2|-1) …"):
        coco_metrics(dataset(Targets()), found)


def test_equal_scores_rank_by_image_id() -> None:
    wrong, right = detections((50, 50, 90, 90, 0.5, 0)), detections((0, 0, 50, 50, 0.5, 0))
    truth = Targets(boxes((0, 0, 50, 50)), torch.tensor([0]))
    aps = []
    for first, second in ((1, 2), (2, 1)):
        samples = [Sample(first, (100, 100), Targets()), Sample(second, (100, 100), truth)]
        aps.append(coco_metrics(DetectionData(("cat",), samples, (1,), "", "", ""), [wrong, right]).figures["AP"])
    assert aps == [pytest.approx(0.5), pytest.approx(1.0)]
