from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo_core.data.open import open_data
from zoo_core.errors import DataError

WriteCoco = Callable[..., Path]


def document() -> dict[str, Any]:
    """Return annotations of two images, the second of them without objects; the ids of the categories have gaps."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 100, "height": 80},
            {"id": 3, "file_name": "b.png", "width": 100, "height": 80},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 5, "bbox": [10, 20, 30, 40], "area": 700.5, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 90, "bbox": [0.5, 0, 20, 10]},
            {"id": 3, "image_id": 7, "category_id": 5, "bbox": [50, 50, 20, 20], "area": 300, "iscrowd": 1},
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 90, "name": "dog"}],
    }


def message(root: Path, classes: list[str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        open_data(root, "train", classes=classes)
    return str(caught.value)


@pytest.mark.parametrize("images", ["train", "images/train", "images", "."])
def test_a_split_wherever_its_images_lie(write_coco: WriteCoco, images: str) -> None:
    root = write_coco(document(), images=images)
    data = open_data(root, "train")
    assert (data.format, data.class_names, data.category_ids) == ("coco", ("cat", "dog"), (5, 90))
    first, second = data
    assert (first.image_id, first.size, first.path) == (7, (80, 100), root / images / "a.png")
    assert first.targets.boxes.tolist() == [[10, 20, 40, 60], [0.5, 0, 20.5, 10]]
    assert first.targets.labels.tolist() == [0, 1]
    assert first.targets.ignored.tolist() == [[50, 50, 70, 70]]  # the crowd, of its class
    assert first.targets.ignored_labels.tolist() == [0]
    assert first.areas is not None
    assert first.areas.tolist() == [700.5, 200]  # that of the mask; that of the box where none is stated
    assert first.image().shape == (3, 80, 100)
    assert (second.image_id, len(second.targets), len(second.targets.ignored)) == (3, 0, 0)


def test_classes_that_are_not_chosen_become_ignore_regions_for_all(write_coco: WriteCoco) -> None:
    data = open_data(write_coco(document()), "train", classes=["dog"])
    assert (data.class_names, data.category_ids) == (("dog",), (90,))
    assert data[0].targets.labels.tolist() == [0]
    assert data[0].targets.ignored.tolist() == [[10, 20, 40, 60], [50, 50, 70, 70]]  # the crowd of cats as well
    assert data[0].targets.ignored_labels.tolist() == [-1, -1]


def test_one_json_beside_its_images(write_coco: WriteCoco) -> None:
    root = write_coco(document(), images=".")
    (root / "annotations" / "instances_train.json").rename(root / "labels.json")
    assert len(open_data(root, "train")) == 2
    (root / "labels.json").write_text('{"name": "a package"}')
    assert message(root).startswith(f"{root}: no data set found here.")


def test_images_in_folders_below(write_coco: WriteCoco) -> None:
    content = document()
    content["images"][0]["file_name"] = "deep/a.png"
    root = write_coco(content, images="train")
    (root / "train" / "deep").mkdir()
    (root / "train" / "a.png").rename(root / "train" / "deep" / "a.png")
    assert open_data(root, "train")[0].path == root / "train" / "deep" / "a.png"


def change(*path: str | int, to: Any) -> dict[str, Any]:
    """Return the document with one value changed, or taken out where `to` is `...`."""
    content = document()
    place: Any = content
    for step in path[:-1]:
        place = place[step]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return content


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([1], "expected an object with images, annotations, categories, found [1]"),
        (change("annotations", to=...), "expected a list under the key 'annotations', found nothing"),
        (change("images", to={"a": 1}), "expected a list under the key 'images', found {\"a\": 1}"),
        (change("images", 1, to="b.png"), 'images[1] must be an object, found "b.png"'),
        (change("images", 1, "id", to=7), "images[1]: the id 7 is taken by an earlier one; ids must differ"),
        (change("images", 1, "width", to="100"), "images[1]: 'width' must be a whole number, found \"100\""),
        (change("images", 1, "file_name", to=...), "images[1] has no 'file_name'"),
        (change("images", 0, "height", to=0), "image 7: its size is given as 100 x 0"),
        (change("images", 0, "height", to=10**30), f"image 7: its size is given as 100 x {10**30}"),
        (change("categories", 0, "name", to=5), "categories[0]: 'name' must be a text, found 5"),
        (change("categories", 0, "name", to="dog"), "two categories have the same name; rename one"),
        (change("annotations", 2, "image_id", to=8), "annotation 3: there is no image with id 8 in this file"),
        (change("annotations", 2, "category_id", to=1), "annotation 3: there is no category with id 1 in this file"),
        (change("annotations", 2, "category_id", to=True), "annotation 3: 'category_id' must be a whole number, found true"),
        (change("annotations", 2, to={"image_id": 7}), "annotations[2] has no 'category_id'"),
        (change("annotations", 2, "bbox", to=...), "annotation 3 has no 'bbox'"),
        (
            change("annotations", 2, "bbox", to=[1, 2, 3]),
            "annotation 3: 'bbox' must be four numbers [x, y, width, height], found [1, 2, 3]",
        ),
        (
            change("annotations", 2, "bbox", to=[1, 2, 3, "4"]),
            "annotation 3: 'bbox' must be four numbers [x, y, width, height], found [1, 2, 3, \"4\"]",
        ),
        (
            change("annotations", 2, "bbox", to=[1, 2, 3, 10**400]),
            "annotation 3: 'bbox' must be four numbers [x, y, width, height], found [1, 2, 3, 100000000000000000000000000…",
        ),
        (change("annotations", 2, "iscrowd", to="no"), "annotation 3: 'iscrowd' must be 0 or 1, found \"no\""),
        (change("annotations", 2, "area", to=-1), "annotation 3: 'area' must be a number that is not negative, found -1"),
        (change("images", to=[]) | {"annotations": []}, "it has no images"),
        (
            change("categories", to=[]) | {"annotations": []},
            "there is no class: not one object is annotated; name the classes yourself (--classes)",
        ),
    ],
)
def test_a_malformed_document(write_coco: WriteCoco, content: Any, problem: str) -> None:
    root = write_coco(json.dumps(content))
    assert message(root) == f"{root / 'annotations' / 'instances_train.json'}: {problem}"


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        ('{"images": [\n  {"id": ', ", line 2", "no valid JSON: Expecting value (column 10); is the file complete?"),
        ('{"images": 1' + "0" * 5000 + "}", "", "the file cannot be read as JSON: Exceeds the limit"),
        ("[" * 100_000, "", "the file cannot be read as JSON: "),
        ("", ", line 1", "no valid JSON: Expecting value (column 1); is the file complete?"),
    ],
)
def test_what_is_no_json(write_coco: WriteCoco, text: str, where: str, problem: str) -> None:
    root = write_coco(text)
    assert message(root).startswith(f"{root / 'annotations' / 'instances_train.json'}{where}: {problem}")


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ([10, 20, 0, 40], "the box (10, 20, 10, 60) has no area"),
        ([10, 20, 30, -1], "the box (10, 20, 40, 19) has no area"),
        ([10, 20, float("nan"), 1], "the box (10, 20, nan, 21) has a coordinate that is not a finite number"),
        ([120, 20, 30, 40], "the box (120, 20, 150, 60) lies outside its image of 100 x 80 pixels"),
    ],
)
def test_a_box_that_marks_nothing(write_coco: WriteCoco, box: list[float], problem: str) -> None:
    root = write_coco(change("annotations", 0, "bbox", to=box))
    advice = "correct or delete the annotation, or leave such boxes out (--skip-bad)"
    expected = f"{root / 'annotations' / 'instances_train.json'}: annotation 1: {problem}; {advice}"
    assert message(root) == expected
    data = open_data(root, "train", skip_bad=True)
    assert (data[0].targets.labels.tolist(), data.skipped.count, data.skipped.messages) == ([1], 1, [expected])


def test_images_that_are_missing(write_coco: WriteCoco) -> None:
    root = write_coco(document())
    (root / "train" / "b.png").unlink()
    assert message(root) == f"{root / 'train' / 'b.png'}: there is no such image, but instances_train.json lists it"
    data = open_data(root, "train", skip_bad=True)
    assert ([sample.image_id for sample in data], data.skipped.count) == ([7], 1)
    (root / "train" / "a.png").unlink()
    places = ", ".join(str(root / place) for place in ("train", "images/train", "images", "."))
    expected = f"none of its images, such as 'a.png', is in any of {places}"
    assert message(root) == f"{root / 'annotations' / 'instances_train.json'}: {expected}"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "a/../../b.png",
        "/etc/secret.png",
        "C:\\secret.png",
        "..\\secret.png",
        "a\\..\\..\\b.png",
        "C:b.png",
        "\\b.png",
    ],
)
def test_a_file_name_that_points_outside(write_coco: WriteCoco, name: str) -> None:
    root = write_coco(change("images", 1, "file_name", to=name))
    expected = f"the file name '{name}' points outside the folder of the images"
    assert message(root) == f"{root / 'annotations' / 'instances_train.json'}: {expected}"


def test_an_image_of_another_size(write_coco: WriteCoco) -> None:
    root = write_coco(change("images", 1, "width", to=99))
    sample = open_data(root, "train")[1]
    with pytest.raises(DataError) as caught:
        sample.image()
    assert str(caught.value) == (
        f"{root / 'train' / 'b.png'}: the image is 100 x 80 pixels, its annotation says 99 x 80; "
        "correct the annotation or put back the image that it was made for"
    )


def test_a_class_that_the_data_lacks(write_coco: WriteCoco) -> None:
    root = write_coco(document())
    expected = "no class 'cats' in this data; did you mean 'cat'?; it has cat, dog"
    assert message(root, classes=["cats"]) == f"{root / 'annotations' / 'instances_train.json'}: {expected}"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "split", "full", "images", "objects", "crowds", "empty"),
    [
        ("coco_tiny80", "train", "train2017", 80, 705 - 6, 6, None),
        ("coco_tiny80", "val", "val2017", 80, 815 - 11, 11, None),
        ("coco128_lightly", "train", "train2017", 128, 935 - 6, 6, 2),
        ("coco128_lightly", "val", "val2017", 61, 441 - 4, 4, None),
    ],
)
def test_real_data(
    shared: Path, folder: str, split: str, full: str, images: int, objects: int, crowds: int, empty: int | None
) -> None:
    data = open_data(shared / "data" / folder, split)
    assert (data.split, len(data), len(data.class_names), data.category_ids[-1]) == (full, images, 80, 90)
    assert sum(len(sample.targets) for sample in data) == objects
    assert sum(len(sample.targets.ignored) for sample in data) == crowds
    assert data.skipped.count == 0
    if empty is not None:
        assert sum(not len(sample.targets) and not len(sample.targets.ignored) for sample in data) == empty
    for sample in (data[0], data[-1]):
        assert sample.image().shape == (3, *sample.size)
