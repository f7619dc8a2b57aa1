"""What every detector does with what it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.core.stubs import Blocks, BlocksSpec, component
from zoo_core.create import create
from zoo_core.detectors.detector import Detector
from zoo_core.errors import DataError, InputError
from zoo_core.registry import contributed
from zoo_core.types import Detections, Targets

pytestmark = pytest.mark.usefixtures("stubs")
RECIPES = pytest.mark.parametrize("recipe", ["plain_one_stage", "plain_two_stage"])


def image(height: int = 40, width: int = 60, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def target(*boxes: tuple[float, float, float, float], label: int = 1) -> Targets:
    return Targets(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.full((len(boxes),), label))


def made(recipe: str = "plain_one_stage", **overrides: Any) -> Detector:
    torch.manual_seed(0)
    return create(recipe, **overrides)


def same(first: list[Detections], second: list[Detections]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.boxes, b.boxes) and torch.equal(a.scores, b.scores) and torch.equal(a.labels, b.labels)
        for a, b in zip(first, second, strict=True)
    )


@RECIPES
@pytest.mark.parametrize("mode", [True, False])
def test_the_argument_decides_not_the_mode(recipe: str, mode: bool) -> None:
    detector = made(recipe).train(mode)
    losses = detector([image()], [target((5, 5, 30, 30))])
    assert isinstance(losses, dict)
    sum(losses.values()).backward()  # type: ignore[arg-type]
    (found,) = detector([image()])
    assert isinstance(found, Detections)
    assert len(found)
    assert not found.boxes.requires_grad
    assert detector.training == mode


@RECIPES
def test_images_without_a_box_give_losses(recipe: str) -> None:
    losses = made(recipe)([image(), image(30, 20)], [Targets(), Targets()])
    assert isinstance(losses, dict)
    assert all(value.isfinite() for value in losses.values())


@RECIPES
def test_detections_are_in_the_pixels_of_each_image(recipe: str) -> None:
    detector = made(recipe)
    small, large = detector([image(20, 30), image(400, 600)])
    assert small.boxes[:, 2].max() <= 30 + 1e-3
    assert small.boxes[:, 3].max() <= 20 + 1e-3
    assert large.boxes[:, 2].max() > 100
    assert large.boxes[:, 2].max() <= 600 + 1e-2


@RECIPES
def test_a_ready_batch_is_the_same_as_raw_images(recipe: str) -> None:
    detector, images, targets = made(recipe), [image(), image(50, 20)], [target((5, 5, 30, 30)), Targets()]
    ready = detector.preprocess(images, targets)
    assert detector(ready).keys() == detector(images, targets).keys()
    assert all(torch.equal(value, detector(ready)[name]) for name, value in detector(images, targets).items())
    assert same(detector(detector.preprocess(images)), detector(images))


def test_preprocessing_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, calls = made(), []
    inner = detector.preprocess

    class Counting:
        def __call__(self, *arguments: Any, **keywords: Any) -> Any:
            calls.append(arguments)
            return inner(*arguments, **keywords)

        restore = staticmethod(inner.restore)

    monkeypatch.setattr(detector, "preprocess", Counting())
    detector([image()])
    assert len(calls) == 1
    detector(inner([image()], [Targets()]))
    assert len(calls) == 1


BOX = (5.0, 5.0, 30.0, 30.0)


@pytest.mark.parametrize(
    ("images", "targets", "text"),
    [
        (["a.png"], None, "forward takes tensors, not a str; `predict` takes paths and pictures"),
        ("a.png", None, "forward takes tensors, not a str"),
        (None, None, "forward takes tensors, not a NoneType"),
        (5, None, "forward takes tensors, not a int"),
        ([image(), None], None, "forward takes tensors, not a NoneType"),
        ([np.zeros((4, 4, 3), np.uint8)], None, "forward takes tensors, not a ndarray"),
        ([], None, "a batch needs at least one image"),
        (image(), None, "forward takes several images; for one write model([image])"),
        (image()[0], None, "an image must be uint8 RGB of shape (3, H, W), not torch.uint8 of (60,)"),
        ([image().float()], None, "an image must be uint8 RGB of shape (3, H, W), not torch.float32 of (3, 40, 60)"),
        ([image()[:, :0]], None, "an image must be uint8 RGB of shape (3, H, W), not torch.uint8 of (3, 0, 60)"),
        ([image()], [], "1 images with 0 targets"),
        ([image()], [Targets(), Targets()], "1 images with 2 targets"),
        ([image()], [{"boxes": []}], "targets are Targets, one per image, not a dict"),
        ([image()], [target(BOX, label=3)], "image 0: labels must lie in 0 … 2, got 3"),
        ([image()] * 2, [Targets(), target(BOX, label=-1)], "image 1: labels must lie in 0 … 2, got -1"),
        (
            [image()],
            [target((5, 5, float("nan"), 30))],
            "image 0: a box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, all finite, not [5.0, 5.0, nan, 30.0]",
        ),
        ([image()], [target((5, 5, float("inf"), 30))], "image 0: a box is x1, y1, x2, y2 with x1 <= x2"),
        ([image()], [target(BOX, (30, 5, 5, 30))], "image 0: a box is x1, y1, x2, y2 with x1 <= x2"),
        (
            [image()],
            [Targets(ignored=torch.tensor([[0.0, 9, 9, 0]]), ignored_labels=torch.tensor([-1]))],
            "image 0: a box is x1, y1, x2, y2",
        ),
    ],
)
def test_what_cannot_be_used_is_told(images: Any, targets: Any, text: str) -> None:
    with pytest.raises(InputError) as error:
        made()(images, targets)
    assert str(error.value).startswith(text)


def test_targets_beside_a_ready_batch() -> None:
    detector = made()
    with pytest.raises(InputError, match="a ready ImageBatch holds its own targets"):
        detector(detector.preprocess([image()]), [Targets()])


@RECIPES
def test_boxes_on_the_border_and_without_area_are_taken(recipe: str) -> None:
    given = target((0, 0, 60, 40), (10, 10, 10, 10), (10, 10, 30, 10), (59, 39, 60, 40))
    losses = made(recipe)([image()], [given])
    assert all(value.isfinite() for value in losses.values())


@pytest.fixture
def sources(tmp_path: Path) -> list[Any]:
    """Return one image in every form that `predict` takes."""
    pixels = image()
    array = pixels.permute(1, 2, 0).numpy()
    Image.fromarray(array).save(tmp_path / "a.png")
    return [str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(array), array, pixels]


@RECIPES
def test_predict_takes_an_image_in_any_form(recipe: str, sources: list[Any]) -> None:
    detector = made(recipe)
    wanted = [found.above(0.0) for found in detector([image()])]
    for source in sources:
        assert same(detector.predict(source), wanted)
    assert same(detector.predict(sources, batch_size=2), wanted * 5)
    assert same(detector.predict(tuple(sources)), wanted * 5)


def test_predict_works_in_batches_of_any_size() -> None:
    detector, images = made(), [image(seed=k) for k in range(5)]
    one_by_one = detector.predict(images)
    for size in (2, 5, 100):
        for found, wanted in zip(detector.predict(images, batch_size=size), one_by_one, strict=True):
            torch.testing.assert_close(found.boxes, wanted.boxes)
            torch.testing.assert_close(found.scores, wanted.scores)
    assert detector.predict([]) == []


def test_predict_leaves_out_low_scores() -> None:
    detector = made()
    (everything,) = detector.predict(image())
    middle = float(everything.scores.median())
    (found,) = detector.predict(image(), score=middle)
    assert 0 < len(found) < len(everything)
    assert (found.scores > middle).all()
    assert len(detector.predict(image(), score=1.0)[0]) == 0


class Moody(Blocks):
    """Gives other maps in training, as normalisation does."""

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        return {stride: map_ * (3 if self.training else 1) for stride, map_ in super().forward(images).items()}


def test_predict_evaluates_and_leaves_the_mode_as_it_was() -> None:
    with contributed(component("backbone", "moody", BlocksSpec, Moody)):
        detector = made(backbone="moody")
    wanted = detector.eval().predict(image())
    assert not detector.training
    assert same(detector.train().predict(image()), wanted)
    assert detector.training
    assert not same(detector.train()([image()]), detector.eval()([image()]))


def test_predict_leaves_the_mode_of_each_part_as_it_was() -> None:
    detector = made().train()
    detector.backbone.eval()
    detector.predict(image())
    assert (detector.training, detector.backbone.training) == (True, False)
    detector.eval().backbone.train()
    detector.predict(image())
    assert (detector.training, detector.backbone.training) == (False, True)


def test_predict_leaves_the_mode_as_it_was_after_an_error() -> None:
    detector = made().train()
    with pytest.raises(InputError):
        detector.predict(image().float())
    assert detector.training


def test_a_tensor_of_several_images_is_several_images() -> None:
    detector, images = made(), torch.stack([image(seed=k) for k in range(2)])
    assert same(detector(images), detector(list(images)))


@pytest.mark.parametrize(
    "source",
    [
        *(None, 5, b"a.png", {"image": 1}, [None], [[image()]], image().float(), image()[None], image()[:2], image()[0]),
        *(np.zeros((4, 4), np.float32), np.zeros((3, 4, 5, 3), np.uint8), np.zeros((0, 4, 3), np.uint8), object()),
    ],
    ids=lambda source: type(source).__name__,
)
def test_predict_refuses_what_is_no_image(source: Any) -> None:
    with pytest.raises(InputError):
        made().predict(source)


def test_predict_tells_of_a_file_that_is_missing_or_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image", encoding="utf-8")
    for path in (tmp_path / "a.png", str(tmp_path / "b.png"), tmp_path):
        with pytest.raises(DataError, match=str(path)):
            made().predict(path)


@pytest.mark.parametrize("size", [0, -1])
def test_predict_refuses_a_batch_of_nothing(size: int) -> None:
    with pytest.raises(InputError, match=f"batch_size must be 1 or more, not {size}"):
        made().predict([image()], batch_size=size)


def test_a_detector_knows_where_it_is_and_what_it_is() -> None:
    detector = made(class_names=("car", "bus"))
    assert detector.device == torch.device("cpu")
    assert detector.to("meta").device == torch.device("meta")
    assert detector.class_names == ("car", "bus")
    assert detector.spec.num_classes == 2
