from __future__ import annotations

from collections import Counter

import pytest
import torch

from zoo_core.data.open import open_data
from zoo_core.data.scene import CLASSES, compose
from zoo_core.data.specs import ToySpec
from zoo_core.errors import DataError


def test_the_two_splits() -> None:
    for split, count in (("train", 128), ("val", 32)):
        data = open_data("toy", split)
        assert (len(data), data.class_names, data.category_ids, data.format) == (count, CLASSES, (1, 2, 3), "toy")
        assert all(1 <= len(sample.targets) <= 6 for sample in data)
        assert len({sample.size for sample in data}) > 10
    assert not torch.equal(open_data("toy", "train")[0].image(), open_data("toy", "val")[0].image())


def test_every_class_is_common() -> None:
    labels = torch.cat([sample.targets.labels for sample in open_data("toy", "train")]).tolist()
    assert min(Counter(labels).values()) > 100


def test_the_pictures_are_the_same_on_every_machine() -> None:
    sample = open_data("toy", "train")[3]
    assert sample.size == (168, 208)
    assert [round(value, 2) for value in sample.targets.boxes[0].tolist()] == [158.36, 113.24, 198.93, 151.73]
    assert torch.equal(sample.image(), open_data("toy", "train")[3].image())
    other = open_data("toy", "train", format=ToySpec(seed=1))[3]
    assert not torch.equal(other.targets.boxes, sample.targets.boxes)


def test_a_longer_set_begins_alike() -> None:
    short, long = (open_data("toy", "train", format=ToySpec(train=count)) for count in (4, 9))
    assert len(long) == 9
    assert all(torch.equal(a.image(), b.image()) for a, b in zip(short, long, strict=False))


def touched(mask: torch.Tensor) -> torch.Tensor:
    """Return the tight xyxy box of the pixels that a mask covers in part."""
    rows, columns = mask.nonzero(as_tuple=True)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("index", range(40))
def test_a_box_is_that_of_the_pixels(index: int) -> None:
    scene = compose(f"toy/0/train/{index}")
    height, width = scene.size
    for shape, box in zip(scene.shapes, scene.targets().boxes, strict=True):
        mask, (left, top) = shape.mask()
        assert (box >= 0).all()
        assert (box <= torch.tensor([width, height, width, height])).all()
        covered = torch.from_numpy(mask)
        offset = torch.tensor([left, top, left, top])
        # the pixels that are touched: less than one beyond the box, and an eighth, which is how finely a mask is drawn
        assert (touched(covered) + offset - box).abs().max() <= 1.125


def test_a_shape_is_drawn_where_its_box_is() -> None:
    """Take the shapes away: nothing but their boxes, with a rim for the shadow, may change."""
    scene = compose("toy/0/train/0")
    bare = type(scene)(scene.size, (), scene.seed)
    changed = (scene.draw().int() - bare.draw().int()).abs().amax(0)  # (H, W)
    outside = torch.ones(scene.size, dtype=torch.bool)
    for x1, y1, x2, y2 in scene.targets().boxes.round().int().tolist():
        assert (changed[y1:y2, x1:x2] > 40).float().mean() > 0.3
        outside[max(y1 - 7, 0) : y2 + 7, max(x1 - 7, 0) : x2 + 7] = False
    assert changed[outside].max() == 0


def test_classes_that_are_not_chosen_become_ignore_regions() -> None:
    full, part = open_data("toy", "val"), open_data("toy", "val", classes=["triangle", "circle"])
    assert (part.class_names, part.category_ids) == (("triangle", "circle"), (1, 2))
    for a, b in zip(full, part, strict=True):
        squares = a.targets.labels == CLASSES.index("square")
        assert torch.equal(b.targets.ignored, a.targets.boxes[squares])
        assert torch.equal(b.targets.boxes, a.targets.boxes[~squares])
        assert (b.targets.ignored_labels == -1).all()
        assert torch.equal(b.targets.labels == 0, a.targets.labels[~squares] == CLASSES.index("triangle"))
    with pytest.raises(DataError) as caught:
        open_data("toy", "train", classes=["cicle"])
    assert str(caught.value) == "toy: no class 'cicle' in this data; did you mean 'circle'?; it has circle, square, triangle"


def test_no_such_split() -> None:
    with pytest.raises(DataError) as caught:
        open_data("toy", "test")
    assert str(caught.value) == "toy: no split 'test'; there are train, val"
