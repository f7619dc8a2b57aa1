from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.core.data.painting import assert_under_boxes, boxes_and_labels, of_colour, paint
from zoo_core.data.augment import Augment
from zoo_core.data.mosaic import GREY, Layout, Mosaic, Plan
from zoo_core.data.place import View
from zoo_core.data.specs import AugmentSpec
from zoo_core.types import Size, Targets

FRAME = (96, 112)
SIZES = [(80, 100), (120, 60), (64, 64), (37, 111), (200, 210), (96, 112)]


def scene(size: Size, number: int) -> tuple[Tensor, Targets]:
    """Return a picture with four objects and an ignore region, one in each part of it, and a row of a single pixel."""
    height, width = size
    generator = torch.Generator().manual_seed(number)
    boxes = []
    for k in range(5):
        cell = torch.tensor([width / 3 * (k % 3), height / 2 * (k // 3)]).repeat(2)
        corners = torch.rand(4, generator=generator) * 0.4 + torch.tensor([0.05, 0.05, 0.5, 0.5])
        boxes.append((cell + corners * torch.tensor([width / 3, height / 2] * 2)).round())
    labels = torch.randperm(6, generator=generator)[:5]
    targets = Targets(torch.stack(boxes[:4]), labels[:4], boxes[4][None], labels[4:])
    return paint(size, targets), targets


SCENES = [scene(size, number) for number, size in enumerate(SIZES)]


def mosaic(frame: Size = FRAME, **options: Any) -> Mosaic:
    return Mosaic(AugmentSpec.model_validate({"mosaic": 1, **options}), frame)


def make(
    change: Mosaic, seed: int, load: Callable[[int], tuple[Tensor, Targets]] = SCENES.__getitem__, count: int = len(SCENES)
) -> tuple[Tensor, Targets]:
    plan = change.plan(seed % count, count, seed)
    assert plan is not None
    return change.compose(plan, [load(index) for index in plan.indices])


@pytest.mark.parametrize("frame", [FRAME, (128, 128), (64, 160)])
@pytest.mark.parametrize(
    "options",
    [{}, {"scale": (0.5, 1.5)}, {"translate": 0.3}, {"scale": (0.2, 2.0), "translate": 0.2}, {"min_visible": 0.9}],
    ids=lambda options: "-".join(options),
)
def test_what_is_under_a_box_stays_under_it(frame: Size, options: dict[str, Any]) -> None:
    change, objects, regions = mosaic(frame, **options), 0, 0
    in_place = Augment(AugmentSpec(flip=0.5)).in_place()
    for seed in range(30):
        image, targets = in_place(*make(change, seed), seed)
        assert (image.dtype, image.shape) == (torch.uint8, (3, *frame))
        assert_under_boxes(of_colour(image), targets)
        objects, regions = objects + len(targets), regions + len(targets.ignored)
        assert (targets.boxes[:, 2:] - targets.boxes[:, :2] >= 2).all()
        boxes, labels = boxes_and_labels(targets)
        assert labels.dtype == torch.int64
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([frame[1], frame[0]] * 2)).all()
    assert objects > 100
    assert regions > 30


def test_an_object_mostly_cut_away_becomes_an_ignore_region_of_its_class() -> None:
    lenient, strict, lost = mosaic(min_visible=0), mosaic(min_visible=0.6), 0
    for seed in range(40):
        all_left, kept = make(lenient, seed)[1], make(strict, seed)[1]
        assert len(kept) + len(kept.ignored) == len(all_left) + len(all_left.ignored)
        lost += len(all_left) - len(kept)
    assert lost > 20


@pytest.mark.parametrize(("number", "corner"), [(0, (0, 0)), (1, (0, 1)), (2, (1, 0)), (3, (1, 1))])
def test_each_image_has_its_quadrant(number: int, corner: tuple[int, int]) -> None:
    colours = [torch.full((3, 64, 64), 10 * (k + 1), dtype=torch.uint8) for k in range(4)]
    plan = Plan((Layout((0, 1, 2, 3), View((1.25, 0.75))),))
    image, _ = mosaic((64, 64)).compose(plan, [(colour, Targets()) for colour in colours])
    rows = slice(48, 64) if corner[0] else slice(0, 48)
    columns = slice(16, 64) if corner[1] else slice(0, 16)
    assert (image[:, rows, columns] == 10 * (number + 1)).all()


def test_pixels_are_those_of_the_canvas_that_is_never_made() -> None:
    noise = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = [noise[:, :, :40], noise[:, :30], noise, noise[:, 44:]]
    plan = Plan((Layout((0, 1, 2, 3), View((70 / 64, 50 / 64))),))
    found, _ = mosaic((64, 64)).compose(plan, [(image, Targets()) for image in images])
    canvas = torch.tensor(GREY, dtype=torch.uint8)[:, None, None].repeat(1, 128, 128)
    canvas[:, 6:70, 10:50], canvas[:, 40:70, 50:114] = images[0], images[1]
    canvas[:, 70:128, 0:50], canvas[:, 70:90, 50:114] = images[2][:, :58, 14:], images[3]
    assert torch.equal(found, canvas[:, 32:96, 32:96])


def test_a_part_is_resized_as_it_is_within_the_whole() -> None:
    image = torch.randint(0, 256, (3, 90, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = [View((1.0, 1.0), zoom=0.41, shift=(shift, shift)) for shift in (0.0, -0.13)]
    whole, part = (mosaic((100, 100)).compose(Plan((Layout((0,), view),)), [(image, Targets())])[0].int() for view in views)
    assert (whole[:, 13:50, 13:50] - part[:, :37, :37]).abs().max() <= 1


def test_mixup_blends_two_and_keeps_the_objects_of_both() -> None:
    change, shares = mosaic(mixup=1, scale=(0.6, 1.4), translate=0.1), []
    for seed in range(40):
        plan = change.plan(0, len(SCENES), seed)
        assert plan is not None
        images = [SCENES[index] for index in plan.indices]
        assert len(images) == 8
        image, targets = change.compose(plan, images)
        (first, a), (second, b) = (
            change.compose(Plan((layout,)), [SCENES[k] for k in layout.indices]) for layout in plan.layouts
        )
        assert (first * (1 - plan.share) + second * plan.share - image).abs().max() <= 1
        for name in ("boxes", "labels", "ignored", "ignored_labels"):
            assert torch.equal(getattr(targets, name), torch.cat([getattr(a, name), getattr(b, name)]))
        shares.append(plan.share)
    assert 0.2 < min(shares) < 0.45 < 0.55 < max(shares) < 0.8


def test_what_is_under_a_box_stays_under_it_in_a_blend() -> None:
    pure = [(paint(size, t), t) for size, t in zip(SIZES, (_pure(targets) for _, targets in SCENES), strict=True)]
    change = mosaic(mixup=1, scale=(0.6, 1.4))
    for seed in range(40):
        image, targets = make(change, seed, pure.__getitem__)
        seen = image.int() - image.int().amin(0) > 60  # grey adds to each channel alike
        assert_under_boxes(seen, targets, tolerance=1.25)


def _pure(targets: Targets) -> Targets:
    """Return the objects of red, green and blue alone."""
    objects, regions = targets.labels < 3, targets.ignored_labels < 3
    return Targets(targets.boxes[objects], targets.labels[objects], targets.ignored[regions], targets.ignored_labels[regions])


def test_how_often() -> None:
    plans = [mosaic(mosaic=0.6, mixup=0.25).plan(0, 9, seed) for seed in range(1000)]
    made = [plan for plan in plans if plan is not None]
    assert 550 < len(made) < 650
    assert 0.2 < sum(len(plan.layouts) == 2 for plan in made) / len(made) < 0.3
    assert mosaic(mosaic=0).plan(0, 9, 1) is None


def test_a_plan() -> None:
    change = mosaic(scale=(0.5, 1.5), translate=0.2)
    plans = [change.plan(7, 50, seed) for seed in range(200)]
    assert plans == [change.plan(7, 50, seed) for seed in range(200)]
    places: set[int] = set()
    partners: set[int] = set()
    for plan in plans:
        assert plan is not None
        places.add(plan.indices.index(7))
        partners.update(plan.indices)
        view = plan.layouts[0].view
        assert all(0.5 <= place <= 1.5 for place in view.point)
        assert 0.5 <= view.zoom <= 1.5
        assert all(abs(shift) <= 0.2 for shift in view.shift)
    assert places == {0, 1, 2, 3}
    assert len(partners) == 50


def test_a_data_set_of_one_image() -> None:
    plan = mosaic(mixup=1).plan(0, 1, 3)
    assert plan is not None
    assert plan.indices == (0,) * 8
    image, targets = make(mosaic(), 3, count=1)
    assert_under_boxes(of_colour(image), targets)


@pytest.mark.parametrize("options", [{"scale": (0.01, 0.02)}, {"scale": (50, 99)}, {"translate": 1}, {"mixup": 1}])
def test_images_of_a_pixel_and_without_targets(options: dict[str, Any]) -> None:
    images = [torch.full((3, *size), 200, dtype=torch.uint8) for size in ((1, 1), (1, 3000), (3000, 1), (2, 5))]
    for seed in range(20):
        image, targets = make(mosaic(**options), seed, lambda k: (images[k], Targets()), 4)
        assert image.shape == (3, *FRAME)
        assert (len(targets), len(targets.ignored)) == (0, 0)


def test_a_box_of_a_pixel_becomes_an_ignore_region() -> None:
    targets = Targets(torch.tensor([[40.0, 40, 41, 41], [10, 10, 10, 12]]), torch.tensor([1, 2]))
    sizes = set()
    for seed in range(40):
        image, found = make(mosaic(scale=(0.8, 1.9)), seed, lambda _: (paint((96, 112), targets), targets), 1)
        assert_under_boxes(of_colour(image), found)
        assert set(found.labels.tolist()) | set(found.ignored_labels.tolist()) <= {1}  # the other one has no area
        sizes.update((found.ignored[:, 2:] - found.ignored[:, :2]).flatten().tolist())
        assert len(found) == 0
    assert 0 < min(sizes) <= max(sizes) < 2


def test_the_input_is_left_as_it_is() -> None:
    before = [(image.clone(), targets.boxes.clone()) for image, targets in SCENES]
    image, _ = make(mosaic(mixup=1), 1)
    image.zero_()
    for (a, boxes), (b, targets) in zip(before, SCENES, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(boxes, targets.boxes)
