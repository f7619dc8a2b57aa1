from __future__ import annotations

import pytest
import torch

from zoo_core.data.place import Place, Span, View, quadrant
from zoo_core.types import Targets


@pytest.mark.parametrize(
    ("number", "y", "x"),
    [
        (0, Span(20, 60, 20, 60), Span(-55, 25, 0, 25)),
        (1, Span(20, 60, 20, 60), Span(25, 105, 25, 80)),
        (2, Span(60, 100, 60, 80), Span(-55, 25, 0, 25)),
        (3, Span(60, 100, 60, 80), Span(25, 105, 25, 80)),
    ],
)
def test_each_image_has_a_corner_at_the_point(number: int, y: Span, x: Span) -> None:
    # an image that is fitted to 40 x 80; the view begins at (40, 40) of the canvas
    assert quadrant(number, (20, 40), (80, 80), View(point=(100 / 80, 65 / 80))) == Place((20, 40), y, x)


def test_zoomed_about_the_middle_and_shifted() -> None:
    place = quadrant(0, (80, 80), (80, 80), View(point=(1.0, 1.0), zoom=0.5, shift=(0.25, -0.1)))
    assert (place.y, place.x) == (Span(20, 60, 20, 60), Span(-8, 32, 0, 32))


def test_cut_at_the_edge_of_the_canvas() -> None:
    # the canvas is 40 ... 120 of 160 pixels in the view
    place = quadrant(0, (160, 160), (160, 160), View(point=(0.5, 1.5), zoom=0.25))
    assert place.y == Span(20, 60, 40, 60)
    assert place.x == Span(60, 100, 60, 100)
    place = quadrant(3, (160, 160), (160, 160), View(point=(0.5, 1.5), zoom=0.25))
    assert place.x == Span(100, 140, 100, 120)


def test_an_image_of_no_height_takes_a_pixel() -> None:
    for number, span in ((0, Span(49, 50, 49, 50)), (3, Span(50, 51, 50, 51))):
        assert quadrant(number, (1, 1000), (100, 100), View((1.0, 1.0))).y == span


def test_hidden() -> None:
    assert quadrant(0, (80, 80), (80, 80), View((0.5, 0.5), shift=(-0.1, 0))).hidden
    assert not quadrant(3, (80, 80), (80, 80), View((0.5, 0.5), shift=(-0.1, 0))).hidden


def test_the_source_of_what_is_seen() -> None:
    place = Place((30, 100), Span(-10, 50, 0, 50), Span(20, 220, 20, 61))
    assert place.source() == pytest.approx((0, 5, 20.5, 30))


def test_boxes_move_with_the_image_and_are_cut_to_what_is_seen_of_it() -> None:
    place = Place((100, 100), Span(-20, 180, 0, 90), Span(10, 60, 10, 60))  # twice as high, half as wide
    boxes = [[20, 20, 40, 40], [0, 0, 10, 12], [50, 50, 90, 70], [70, 90, 80, 99], [30, 30, 33, 33]]
    targets = Targets(
        torch.tensor(boxes, dtype=torch.float32), torch.arange(5), torch.tensor([[-9.0, 40, 10, 90]]), torch.tensor([-1])
    )
    moved = place.moved(targets, min_visible=0.3)
    assert moved.boxes.tolist() == [[20, 20, 30, 60]]
    assert moved.labels.tolist() == [0]
    # the region; then what is mostly cut away at the top and at the bottom, and what is narrower than two pixels
    assert moved.ignored.tolist() == [[10, 60, 15, 90], [10, 0, 15, 4], [35, 80, 55, 90], [25, 40, 26.5, 46]]
    assert moved.ignored_labels.tolist() == [-1, 1, 2, 4]
    assert place.moved(targets, min_visible=0.1).labels.tolist() == [0, 1, 2]
