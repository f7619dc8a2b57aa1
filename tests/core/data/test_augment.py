from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.core.data.painting import assert_under_boxes, of_colour, paint
from zoo_core.data.augment import Augment
from zoo_core.data.specs import AugmentSpec
from zoo_core.errors import SpecError
from zoo_core.specs import validate
from zoo_core.types import Targets

BOXES = torch.tensor([[12.0, 8, 40, 30], [60, 50, 90, 76]])
COLOURS = torch.tensor([[250, 0, 0], [0, 250, 0], [0, 0, 250]], dtype=torch.uint8)
TARGETS = Targets(BOXES, torch.tensor([0, 1]), torch.tensor([[10.0, 60, 30, 78]]), torch.tensor([2]))


def picture() -> Tensor:
    """Return black (3, 80, 100) with each box of TARGETS, and its ignore region, filled with the colour of its label."""
    image = torch.zeros(3, 80, 100, dtype=torch.uint8)
    for box, label in zip(torch.cat([BOXES, TARGETS.ignored]).int().tolist(), (0, 1, 2), strict=True):
        image[:, box[1] : box[3], box[0] : box[2]] = COLOURS[label][:, None, None]
    return image


def tight(image: Tensor, label: int) -> Tensor:
    """Return the box of what is nearly of a label's colour."""
    rows, columns = (image[label].int() - image.int().sum(0) / 4 > 90).nonzero(as_tuple=True)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def augment(**options: object) -> Augment:
    return Augment(AugmentSpec.model_validate(options))


def test_nothing() -> None:
    image, targets = augment(flip=0)(picture(), TARGETS, 1)
    assert torch.equal(image, picture())
    assert torch.equal(targets.boxes, BOXES)
    assert torch.equal(targets.ignored, TARGETS.ignored)
    assert [type(t) for t in (image, targets.boxes, targets.ignored, targets.labels)] == [Tensor] * 4


def test_flip() -> None:
    image, targets = augment(flip=1)(picture(), TARGETS, 1)
    assert torch.equal(image, picture().flip(2))
    assert targets.boxes.tolist() == [[60, 8, 88, 30], [10, 50, 40, 76]]
    assert targets.ignored.tolist() == [[70, 60, 90, 78]]
    assert targets.labels.tolist() == [0, 1]
    assert targets.ignored_labels.tolist() == [2]


def test_a_flip_is_as_likely_as_it_says() -> None:
    flips = [augment(flip=0.25)(picture(), TARGETS, seed)[1].boxes[0, 0].item() == 60 for seed in range(400)]
    assert 70 < sum(flips) < 130


@pytest.mark.parametrize("scale", [(0.4, 0.9), (1.1, 1.6), (0.3, 2.0)])
def test_what_is_under_a_box_stays_under_it(scale: tuple[float, float]) -> None:
    change = augment(scale=scale, min_visible=0.2)
    sizes = set()
    for seed in range(60):
        image, targets = change(picture(), TARGETS, seed)
        assert image.shape == (3, 80, 100)
        for box, label in [*zip(targets.boxes, targets.labels.tolist(), strict=True)]:
            sizes.add(round((box[2] - box[0]).item(), 1))
            assert (tight(image, label) - box).abs().max() <= 1.5, seed
        for box, label in [*zip(targets.ignored, targets.ignored_labels.tolist(), strict=True)]:
            if (box[2:] - box[:2]).min() > 4:
                assert (tight(image, label) - box).abs().max() <= 1.5, seed
    assert len(sizes) > 20


@pytest.mark.parametrize("options", [{"translate": 0.4}, {"translate": 1.0}, {"translate": 0.2, "scale": (0.5, 1.7)}])
def test_nothing_is_seen_without_its_box(options: dict[str, object]) -> None:
    targets = Targets(BOXES, torch.tensor([3, 4]), TARGETS.ignored, torch.tensor([5]))
    places: set[tuple[float, ...]] = set()
    for seed in range(60):
        image, moved = augment(**options)(paint((80, 100), targets), targets, seed)
        assert image.shape == (3, 80, 100)
        assert_under_boxes(of_colour(image), moved, tolerance=1)
        places.update(tuple(box) for box in moved.boxes.tolist())
    assert len(places) > 30


def test_a_shift_is_no_longer_than_it_says_and_of_whole_pixels() -> None:
    shifts = []
    for seed in range(100):
        _, moved = augment(flip=0, translate=0.1)(picture(), Targets(BOXES[:1], torch.tensor([0])), seed)
        shifts.append((moved.boxes - BOXES[:1])[0].tolist())
    assert all(x1 == x2 and y1 == y2 and x1 == round(x1) and y1 == round(y1) for x1, y1, x2, y2 in shifts)
    xs, ys = {shift[0] for shift in shifts}, {shift[1] for shift in shifts}
    assert (min(xs), max(xs), min(ys), max(ys)) == (-10, 10, -8, 8)


def test_what_a_shift_or_a_zoom_lays_bare_is_grey_of_one_tone() -> None:
    white = torch.full((3, 80, 100), 255, dtype=torch.uint8)
    for options in ({"translate": 0.5}, {"scale": (0.5, 0.9)}):
        sides: set[int] = set()
        for seed in range(20):
            image, _ = augment(flip=0, **options)(white, Targets(), seed)
            bare = (image < 255).any(0)
            assert {tuple(tone) for tone in image[:, bare].T.tolist()} <= {(124, 116, 104)}
            edges = (bare[0], bare[-1], bare[:, 0], bare[:, -1])
            sides.update(k for k, edge in enumerate(edges) if edge.all())
        assert sides == {0, 1, 2, 3}


def test_in_place_neither_zooms_nor_shifts() -> None:
    change = augment(flip=1, scale=(0.5, 0.6), translate=0.5).in_place()
    image, targets = change(picture(), TARGETS, 1)
    assert torch.equal(image, picture().flip(2))
    assert targets.boxes.tolist() == [[60, 8, 88, 30], [10, 50, 40, 76]]


def test_hsv_changes_colours_alone_and_no_more_than_it_says() -> None:
    colour = torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None].repeat(1, 4, 4)
    boxes = Targets(torch.tensor([[1.0, 1, 3, 3]]), torch.tensor([0]))
    changed = torch.stack([augment(hsv=(0, 0, 0.2))(colour, boxes, seed)[0][:, 0, 0] for seed in range(200)]).float()
    assert changed[:, 0].min() in range(160, 164)
    assert changed[:, 0].max() in range(237, 241)
    assert (changed[:, 1] * 2 - changed[:, 0]).abs().max() <= 2  # neither hue nor saturation
    image, targets = augment(flip=0, hsv=(0.1, 0.5, 0.5))(colour, boxes, 1)
    assert torch.equal(targets.boxes, boxes.boxes)
    assert (image == image[:, :1, :1]).all()
    assert (image[:, 0, 0].float() / image[0, 0, 0] - torch.tensor([1, 0.5, 0.25])).abs().max() > 0.05


def test_an_object_mostly_cut_away_becomes_an_ignore_region_of_its_class() -> None:
    seen = {"whole": 0, "ignored": 0, "gone": 0}
    strict, lenient = (augment(flip=0, scale=(1.5, 2), min_visible=part) for part in (0.6, 0.0))
    for seed in range(100):
        all_left, kept = lenient(picture(), TARGETS, seed)[1], strict(picture(), TARGETS, seed)[1]
        for label in (0, 1):
            before, after = (all_left.labels == label).sum().item(), (kept.labels == label).sum().item()
            ignored = (kept.ignored_labels == label).sum().item()
            assert before == after + ignored  # none is lost while any of it is visible
            seen["whole" if after else "ignored" if ignored else "gone"] += 1
        assert (kept.ignored_labels == 2).sum() == (all_left.ignored_labels == 2).sum()
        for boxes in (kept.boxes, kept.ignored):
            assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
            assert (boxes >= 0).all()
            assert (boxes[:, 2] <= 100).all()
            assert (boxes[:, 3] <= 80).all()
    assert min(seen.values()) > 5


def test_photometric_changes_colours_alone() -> None:
    image, targets = augment(flip=0, photometric=1)(picture(), TARGETS, 3)
    assert not torch.equal(image, picture())
    assert torch.equal(targets.boxes, BOXES)
    assert torch.equal(image.sum(0) > 60, picture().sum(0) > 60)


def test_a_function_of_the_seed_that_leaves_the_random_state_alone() -> None:
    change = augment(scale=(0.3, 2.0), photometric=0.5, hsv=(0.1, 0.5, 0.5), translate=0.1)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = change(picture(), TARGETS, 5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(9)
    again, other = change(picture(), TARGETS, 5), change(picture(), TARGETS, 6)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1].boxes, again[1].boxes)
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.1, 0.2), (1.5, 2.0)])
def test_an_image_without_boxes(scale: tuple[float, float]) -> None:
    image, targets = augment(scale=scale)(picture(), Targets(), 2)
    assert image.shape == (3, 80, 100)
    assert (len(targets), len(targets.ignored)) == (0, 0)


def test_a_tiny_image() -> None:
    image = torch.zeros(3, 2, 5, dtype=torch.uint8)
    assert augment(scale=(0.05, 0.1))(image, Targets(), 2)[0].shape == (3, 2, 5)


def test_the_input_is_left_as_it_is() -> None:
    image = picture()
    augment(flip=1, scale=(0.5, 2), photometric=1)(image, TARGETS, 1)
    assert torch.equal(image, picture())
    assert TARGETS.boxes is BOXES


@pytest.mark.parametrize("scale", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (1.0, 100.0)])
def test_a_scale_that_is_none(scale: tuple[float, float]) -> None:
    with pytest.raises(SpecError, match="scale: expected two factors above 0 and below 100, the smaller one first, got "):
        validate(AugmentSpec, {"scale": scale})


@pytest.mark.parametrize("options", [{"mosaic": 1.1}, {"mixup": -0.1}, {"hsv": (0, 0, 2)}, {"translate": 3}])
def test_options_out_of_range(options: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=f"{next(iter(options))}.*: .* or equal to"):
        validate(AugmentSpec, options)
