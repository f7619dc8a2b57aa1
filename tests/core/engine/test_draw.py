from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from torch import Tensor

from zoo_core.engine.draw import PALETTE, draw
from zoo_core.errors import InputError
from zoo_core.types import Detections, Targets

GREY = 90


def grey(height: int, width: int) -> Tensor:
    return torch.full((3, height, width), GREY, dtype=torch.uint8)


def found(*boxes: tuple[float, float, float, float], score: float = 0.9, label: int = 0) -> Detections:
    count = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.full((count,), score), torch.full((count,), label)
    )


def mask(picture: Image.Image, colour: str) -> NDArray[np.bool_]:
    return np.asarray(np.all(np.asarray(picture) == ImageColor.getrgb(colour), axis=2))


def changed(picture: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(np.any(np.asarray(picture) != GREY, axis=2))


def test_the_box_surrounds_its_object() -> None:
    drawn = changed(draw(grey(300, 400), found((100, 150, 200, 250)), ["cat"]))
    assert not drawn[150:250, 100:200].any()
    assert drawn[149, 100:200].all()
    assert drawn[250, 100:200].all()
    assert drawn[150:250, 99].all()
    assert drawn[150:250, 200].all()


def test_a_box_of_one_pixel_leaves_its_pixel_to_be_seen() -> None:
    drawn = changed(draw(grey(30, 30), found((10, 10, 11, 11)), ["cat"]))
    assert drawn[9:12, 9:12].sum() == 8
    assert drawn.sum() == 8  # and no label, for which the image is too small


def test_the_image_itself_is_not_touched_and_low_scores_are_left_out() -> None:
    image = grey(100, 100)
    assert not changed(draw(image, found((20, 20, 80, 80), score=0.3), ["cat"])).any()
    assert changed(draw(image, found((20, 20, 80, 80), score=0.3), ["cat"], score=0.2)).any()
    assert (image == GREY).all()


def test_colours_by_label() -> None:
    names = [f"class {k}" for k in range(2 * len(PALETTE))]
    for label in (0, 1, len(PALETTE) + 1):
        picture = draw(grey(200, 200), found((50, 50, 150, 150), label=label), names)
        assert mask(picture, PALETTE[label % len(PALETTE)]).sum() > 400


EDGES = [(0, 0, 200, 150), (-50, -50, 30, 30), (170, 120, 400, 900), (-9e9, 40, 9e9, 60), (60, 3, 90, 149)]


@pytest.mark.parametrize("box", EDGES)
def test_labels_stay_in_the_image(box: tuple[float, float, float, float]) -> None:
    def letters(box: tuple[float, float, float, float]) -> int:
        return int((np.asarray(draw(grey(150, 200), found(box), ["animal of some kind"])).max(axis=2) < 60).sum())

    assert letters(box) == letters((70, 60, 100, 90)) > 50


@pytest.mark.parametrize(("label", "light"), [(0, False), (3, False), (4, True), (10, True)])
def test_letters_stand_out_from_their_ground(label: int, light: bool) -> None:
    pixels = np.asarray(draw(grey(150, 200), found((20, 50, 150, 140), label=label), ["some animal"] * 11))
    assert bool((pixels.min(axis=2) > 220).sum() > 20) == light
    assert bool((pixels.max(axis=2) < 30).sum() > 20) != light


@pytest.mark.parametrize("size", [1, 8, 20, 40, 64])
def test_a_small_image_is_not_covered(size: int) -> None:
    drawn = changed(draw(grey(size, size), found((size * 0.25, size * 0.25, size * 0.75, size * 0.75)), ["traffic light"]))
    assert drawn.mean() < 0.6 or size == 1


def test_line_and_letters_grow_with_the_image() -> None:
    def share(side: int) -> float:
        box = (side * 0.3, side * 0.3, side * 0.7, side * 0.7)
        return float(changed(draw(grey(side, side), found(box), ["cat"])).mean())

    assert share(3000) == pytest.approx(share(1000), rel=0.15)


def test_the_best_lies_on_top_whatever_the_order() -> None:
    boxes = torch.tensor([[50.0, 100, 250, 200], [100, 50, 200, 250]])
    for order in (torch.tensor([0, 1]), torch.tensor([1, 0])):
        crossing = Detections(boxes[order], torch.tensor([0.9, 0.5])[order], torch.tensor([0, 1])[order])
        pixels = np.asarray(draw(grey(300, 300), crossing, ["cat", "dog"]))
        assert tuple(pixels[200, 99]) == ImageColor.getrgb(PALETTE[0])


def test_labels_do_not_cover_each_other() -> None:
    far = mask(draw(grey(300, 300), found((20, 100, 280, 280)), ["cat"]), PALETTE[0]).sum()
    close = mask(draw(grey(300, 300), found((20, 100, 280, 280), (20, 100, 280, 280)), ["cat"]), PALETTE[0]).sum()
    assert close > far + 200


@pytest.mark.parametrize("name", ["Ägypten", "日本語", "😀", "שלום", "a\nb", "", "\udcff", "x" * 500, "e\u0301", "\0", "[red]"])
def test_any_name_can_be_drawn(name: str) -> None:
    assert changed(draw(grey(200, 200), found((50, 50, 150, 150)), [name])).any()


def test_boxes_outside_or_without_sense_are_not_drawn() -> None:
    nan, inf = float("nan"), float("inf")
    bad = found((nan, 0, 9, 9), (300, 0, 400, 9), (-9, -9, 0, 0), (50, 50, 20, 20), (inf, inf, inf, inf))
    assert not changed(draw(grey(100, 100), bad, ["cat"])).any()


def test_true_boxes_are_seen_on_any_ground() -> None:
    truth = Targets(torch.tensor([[20.0, 20, 80, 80]]), torch.tensor([0]), torch.tensor([[5.0, 5, 95, 95]]), torch.tensor([-1]))
    for value in (0, 255):
        image = torch.full((3, 100, 100), value, dtype=torch.uint8)
        pixels = np.asarray(draw(image, Detections(), ["cat"], targets=truth))[..., 0]
        assert 20 < (pixels[19, 19:81] != value).sum() < 42
        assert (pixels[4, 4:96] != value).sum() > 40
        assert (pixels[21:79, 21:79] == value).all()


def test_a_thousand_boxes() -> None:
    corner = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0)) * 400
    many = Detections(torch.cat([corner, corner + 30], dim=1), torch.linspace(1, 0.4, 1000), torch.arange(1000) % 5)
    assert changed(draw(grey(480, 640), many, list("abcde"))).any()


def test_nothing_found() -> None:
    assert not changed(draw(grey(50, 50), Detections(), [])).any()


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match=r"must be uint8 RGB \(3, H, W\), not torch.float32 of \(3, 9, 9\)"):
        draw(torch.zeros(3, 9, 9), Detections(), [])
    with pytest.raises(InputError, match="labels 3 … 3 cannot be named: there are 2 class names"):
        draw(grey(9, 9), found((1, 1, 5, 5), label=3), ["a", "b"])
