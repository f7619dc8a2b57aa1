from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from zoo_core.data.samples import DetectionData, Sample
from zoo_core.detectors.detector import Detector
from zoo_core.engine.evaluate import evaluate, explain, match_classes, measure
from zoo_core.errors import DataError, InputError
from zoo_core.types import ANY_LABEL, Detections, ImageBatch, Losses, Targets


class Plain:
    """Batches of images that all have one size."""

    def __call__(
        self, images: Sequence[Tensor], targets: Sequence[Targets] | None = None, names: Sequence[str] = ()
    ) -> ImageBatch:
        assert targets is None
        sizes = tuple((image.shape[1], image.shape[2]) for image in images)
        return ImageBatch(torch.stack(list(images)).float(), sizes, sizes, sizes, names=tuple(names))

    def restore(self, detections: Sequence[Detections], batch: ImageBatch) -> list[Detections]:
        return list(detections)


class Oracle(Detector):
    """Finds what it was told, by the name of the image."""

    def __init__(self, class_names: Sequence[str], answers: Mapping[str, Detections]) -> None:
        super().__init__(None, class_names)  # type: ignore[arg-type]
        self.preprocess = Plain()
        self.frozen, self.head = nn.BatchNorm2d(3).eval(), nn.Dropout()
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    def losses(self, batch: ImageBatch) -> Losses:
        raise NotImplementedError

    def detect(self, batch: ImageBatch) -> list[Detections]:
        assert not any(module.training for module in self.modules())
        assert torch.is_inference_mode_enabled()
        self.asked.append(batch.names)
        return [self.answers.get(name, Detections()) for name in batch.names]


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


def truth(*rows: tuple[float, float, float, float, int]) -> Targets:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    return Targets(table[:, :4], table[:, 4].long())


def dataset(*targets: Targets, classes: tuple[str, ...] = ("cat", "dog")) -> DetectionData:
    image = partial(torch.zeros, 3, 100, 100, dtype=torch.uint8)
    samples = [Sample(index, (100, 100), t, draw=image) for index, t in enumerate(targets)]
    return DetectionData(classes, samples, tuple(range(1, len(classes) + 1)), "made", "val", "none")


DATA = dataset(truth((0, 0, 50, 50, 0)), truth(), truth((0, 0, 50, 50, 1), (50, 50, 100, 100, 0)))
ANSWERS = {"0": found((0, 0, 50, 50, 0.9, 0)), "2": found((0, 0, 50, 50, 0.9, 1))}


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_metrics(batch_size: int) -> None:
    model, seen = Oracle(("cat", "dog"), ANSWERS), []
    evaluation = evaluate(model, DATA, batch_size=batch_size, progress=lambda done, total: seen.append((done, total)))
    assert set(evaluation.metrics) == {
        *["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl", "voc_mAP50"]
    }
    assert evaluation.metrics["voc_mAP50"] == pytest.approx(0.75)
    assert evaluation.metrics["AP"] == pytest.approx((51 / 101 + 1) / 2)
    assert [(row["name"], row["objects"], row["detections"]) for row in evaluation.per_class] == [("cat", 2, 1), ("dog", 1, 1)]
    assert evaluation.images == 3
    assert evaluation.notes == ()
    assert [name for batch in model.asked for name in batch] == ["0", "1", "2"]
    assert max(map(len, model.asked)) == min(batch_size, 3)
    assert seen[-1] == (3, 3)
    assert [len(d) for d in evaluation.detections] == [1, 0, 1]
    evaluation.detections[0].boxes.mul_(2)  # an ordinary tensor, not one of inference mode


def test_json() -> None:
    value = evaluate(Oracle(("cat", "dog"), ANSWERS), DATA).to_json()
    again = json.loads(json.dumps(value, allow_nan=False))
    assert again == value
    assert {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "voc_mAP50", "per_class", "images"} <= set(again)
    assert (again["objects"], again["detections"], again["APl"]) == (3, 2, None)


@pytest.mark.parametrize("training", [True, False])
def test_the_modes_of_all_parts_come_back(training: bool) -> None:
    model = Oracle(("cat", "dog"), ANSWERS).train(training)
    model.frozen.eval()
    evaluate(model, DATA)
    assert (model.training, model.head.training, model.frozen.training) == (training, training, False)


def test_the_modes_come_back_after_an_error() -> None:
    model = Oracle(("cat", "dog"), ANSWERS)
    data = DetectionData(("cat", "dog"), [Sample(0, (9, 9), Targets())], (1, 2), "", "", "")
    with pytest.raises(DataError, match="neither a file nor a way to draw it"):
        evaluate(model, data)
    assert model.training


def test_the_device_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model, moves = Oracle(("cat", "dog"), ANSWERS), []
    monkeypatch.setattr(model, "to", lambda device: moves.append(str(device)))
    monkeypatch.setattr(Oracle, "device", torch.device("meta"))
    monkeypatch.setattr(model, "_batch", lambda batch, targets: batch)
    evaluate(model, DATA, device="cpu")
    assert moves == ["cpu", "meta"]


def test_classes_are_matched_by_name() -> None:
    answers = {"0": found((0, 0, 50, 50, 0.9, 2)), "2": found((0, 0, 50, 50, 0.9, 1), (0, 0, 9, 9, 0.9, 0))}
    evaluation = evaluate(Oracle(("horse", "Dog", "cat"), answers), DATA)
    assert evaluation.metrics["voc_mAP50"] == pytest.approx(0.75)
    assert [d.labels.tolist() for d in evaluation.detections] == [[0], [], [1]]
    assert evaluation.notes == ("detections of 'horse' do not count: the data has no such class",)


@pytest.mark.parametrize(
    ("model", "data", "labels", "note"),
    [
        (["a", "b"], ["a", "b"], [0, 1], ""),
        (["b", "a"], ["a", "b"], [1, 0], ""),
        (["Traffic_light"], ["traffic light"], [0], ""),
        (["Car", "car"], ["car"], [-1, 0], "detections of 'Car' do not count"),
        (["a"], ["a", "b", "c"], [0], "the model does not know 'b', 'c'"),
        (["class 0", "class 1"], ["x", "y"], [0, 1], "taken in the order of the data: 'x', 'y'"),
        (["class 0", "class 1"], ["class 1", "class 0"], [1, 0], ""),
    ],
)
def test_match_classes(model: list[str], data: list[str], labels: list[int], note: str) -> None:
    place, notes = match_classes(model, data)
    assert place.tolist() == labels
    assert note in "".join(notes)
    assert bool(note) == bool(notes)


def test_no_class_in_common() -> None:
    model = Oracle([f"thing {k}" for k in range(10)], {})
    with pytest.raises(InputError) as error:
        evaluate(model, DATA)
    assert "the model knows 'thing 0'," in str(error.value)
    assert "'thing 7' and 2 more; the data has 'cat', 'dog'; " in str(error.value)
    assert "--classes" in str(error.value)
    assert not model.asked


CAT = truth((0, 0, 50, 50, 0))


@pytest.mark.parametrize(
    ("targets", "answer", "reason"),
    [
        ((), found(), "no images"),
        ((Targets(),), found((0, 0, 9, 9, 0.5, 0)), "no object of any class is annotated"),
        ((CAT,), found(), "found nothing in 1 images: it is untrained"),
        ((CAT,), found((60, 60, 90, 90, 0.031, 0)), "the best of 1 scores is 0.031: the model is untrained"),
        ((CAT,), found((200, 0, 250, 50, 0.5, 0)), "1 of 1 boxes lie outside of their images"),
        ((CAT,), found((0, 0, 50, 20, 0.5, 0)), r"the best overlap \(IoU\) is 0.40"),
        ((CAT, CAT, CAT), found((0, 0, 50, 50, 0.5, 1)), "boxes fit 1 of 3 objects, 0 with the right class"),
        ((CAT,), found((0, 0, 50, 50, 0.5, 1)), r"fit 1 of 1 objects.*most often 'dog' for 'cat' \(1 times\): are the class"),
    ],
)
def test_zero_is_explained(targets: tuple[Targets, ...], answer: Detections, reason: str) -> None:
    evaluation = measure(dataset(*targets), [answer, *[Detections()] * 9][: len(targets)])
    assert not evaluation.metrics["AP"]
    assert re.search(reason, " | ".join(evaluation.notes)), evaluation.notes


def test_right_boxes_below_a_heap_of_wrong_ones() -> None:
    wrong = [(60.0, 60.0, 90.0, 90.0, 0.9, 0)] * 3000
    assert explain(dataset(CAT), [found(*wrong, (0, 0, 50, 50, 0.1, 0))]) == [
        "boxes of the right class fit 1 of 1 objects, but wrong boxes have higher scores"
    ]


def test_a_good_result_needs_no_explanation() -> None:
    assert measure(dataset(CAT), [found((0, 0, 50, 50, 0.01, 0))]).notes == ()


def test_what_is_not_finite_does_not_count() -> None:
    nan = float("nan")
    answer = found((nan, 0, 9, 9, 0.9, 0), (0, 0, 50, 50, 0.5, 0), (0, 0, 9, 9, nan, 0))
    evaluation = evaluate(Oracle(("cat", "dog"), {"0": answer}), dataset(CAT))
    assert evaluation.metrics["AP50"] == pytest.approx(1.0)
    assert evaluation.notes == ("2 detections have a box or a score that is not a finite number, and do not count",)
    assert len(evaluation.detections[0]) == 1


def test_regions_that_are_ignored_for_every_class_are_told() -> None:
    crowd = Targets(CAT.boxes, CAT.labels, torch.tensor([[60.0, 60, 90, 90]]), torch.tensor([1]))
    assert measure(dataset(crowd), [found((0, 0, 50, 50, 0.9, 0))]).notes == (), "a crowd of one class is COCO's own affair"
    anything = Targets(CAT.boxes, CAT.labels, crowd.ignored, torch.tensor([ANY_LABEL]))
    evaluation = measure(dataset(anything), [found((60, 60, 90, 90, 0.95, 0), (0, 0, 50, 50, 0.9, 0))], notes=["first"])
    assert evaluation.metrics["AP"] == pytest.approx(1.0)
    assert evaluation.notes[0] == "first"
    (note,) = evaluation.to_json()["notes"][1:]
    assert note.startswith("1 regions (objects of other classes, or marked as not to count) are ignored for every class: ")
