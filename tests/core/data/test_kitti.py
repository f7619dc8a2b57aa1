from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from zoo_core.data.open import open_data
from zoo_core.errors import DataError

CAR = "Car 0.00 0 1.55 10 20 60 50 1 1 1 1 1 1 0"


def rewrite(root: Path, text: str, name: str = "a") -> Path:
    path = root / "training" / "label_2" / f"{name}.txt"
    path.write_text(text)
    return path


def message(root: Path, split: str = "train", classes: list[str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        open_data(root, split, classes=classes)
    return str(caught.value)


def test_a_split(kitti: Path) -> None:
    data = open_data(kitti, "train", classes=["Cyclist", "Car"])
    assert (data.format, data.split, data.name) == ("kitti", "train", str(kitti))
    assert (data.class_names, data.category_ids) == (("Cyclist", "Car"), (1, 2))
    first, second = data
    assert (first.image_id, first.size, first.areas) == ("a", (80, 100), None)
    assert first.targets.boxes.tolist() == [[10, 20, 60, 50]]
    assert first.targets.labels.tolist() == [1]
    assert first.targets.ignored.tolist() == [[10, 20, 70, 50], [0, 0, 9, 9]]  # a van, and DontCare
    assert first.targets.ignored_labels.tolist() == [-1, -1]
    assert first.image().shape == (3, 80, 100)
    assert (second.image_id, len(second.targets), len(second.targets.ignored)) == ("b", 0, 0)


def test_classes_are_those_of_all_splits_in_the_order_of_the_benchmark(kitti: Path) -> None:
    rewrite(kitti, f"{CAR.replace('Car', 'Zebra')}\n{CAR}\n{CAR.replace('Car', 'Van')}")
    for split in ("train", "val"):
        assert open_data(kitti, split).class_names == ("Car", "Van", "Cyclist", "Zebra")


def test_without_lists_all_images_are_train(kitti: Path) -> None:
    (kitti / "train.txt").unlink()
    (kitti / "val.txt").unlink()
    assert [sample.image_id for sample in open_data(kitti, "train")] == ["a", "b", "c"]
    assert message(kitti, "val") == f"{kitti}: no split 'val'; there is only train"


def test_lists_in_a_folder_of_their_own(kitti: Path) -> None:
    (kitti / "ImageSets").mkdir()
    (kitti / "ImageSets" / "mini.txt").write_text("\nb\n\n")
    (kitti / "README.txt").write_text("no list")
    assert [sample.image_id for sample in open_data(kitti, "mini")] == ["b"]
    assert message(kitti, "tain") == f"{kitti}: no split 'tain'; did you mean 'train'?; there are mini, train, val"


def test_jpeg_and_capital_suffixes(kitti: Path) -> None:
    image = kitti / "training" / "image_2" / "a.png"
    image.rename(image.with_suffix(".PNG"))
    assert open_data(kitti, "train")[0].path == image.with_suffix(".PNG")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("Car 0 0 0 1 2 3", "expected 15 fields (type truncated occluded alpha x1 y1 x2 y2 …), found 7"),
        (f"{CAR} 0.5 1", "expected 15 fields (type truncated occluded alpha x1 y1 x2 y2 …), found 17"),
        (CAR.replace("60", "6o"), "the box (fields 5 to 8) must be four numbers, found '10 20 6o 50'"),
    ],
)
def test_a_malformed_line(kitti: Path, line: str, problem: str) -> None:
    path = rewrite(kitti, f"{CAR}\n\n{line}\n")
    assert message(kitti, classes=["Car"]) == f"{path}, line 3: {problem}"
    data = open_data(kitti, "train", classes=["Car"], skip_bad=True)
    assert [sample.image_id for sample in data] == ["b"]  # what the other lines say may be wrong as well
    assert (data.skipped.count, data.skipped.messages) == (1, [f"{path}, line 3: {problem}"])


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ("10 20 10 50", "the box (10, 20, 10, 50) has no area"),
        ("10 50 60 20", "the box (10, 50, 60, 20) has no area"),
        ("10 20 nan 50", "the box (10, 20, nan, 50) has a coordinate that is not a finite number"),
        ("10 20 inf 50", "the box (10, 20, inf, 50) has a coordinate that is not a finite number"),
        ("100 20 160 50", "the box (100, 20, 160, 50) lies outside its image of 100 x 80 pixels"),
        ("10 -20 60 -1", "the box (10, -20, 60, -1) lies outside its image of 100 x 80 pixels"),
    ],
)
@pytest.mark.parametrize("name", ["Car", "DontCare"])
def test_a_box_that_marks_nothing(kitti: Path, box: str, problem: str, name: str) -> None:
    path = rewrite(kitti, f"{CAR}\n{CAR.replace('10 20 60 50', box).replace('Car', name)}")
    advice = "correct or delete the line, or leave such boxes out (--skip-bad)"
    assert message(kitti) == f"{path}, line 2: {problem}; {advice}"
    data = open_data(kitti, "train", skip_bad=True)
    assert (len(data), len(data[0].targets), len(data[0].targets.ignored), data.skipped.count) == (2, 1, 0, 1)


def test_a_box_is_clipped_to_its_image(kitti: Path) -> None:
    rewrite(kitti, CAR.replace("10 20 60 50", "-5 20 100.5 90"))
    assert open_data(kitti, "train")[0].targets.boxes.tolist() == [[0, 20, 100, 80]]


def test_files_that_are_missing_or_no_text(kitti: Path) -> None:
    label = kitti / "training" / "label_2" / "b.txt"
    label.write_bytes(b"\xff\xfe\x00")
    assert message(kitti).startswith(f"{label}: the file cannot be read as text: ")
    label.unlink()
    assert message(kitti) == f"{label}: there is no such file; an image without objects has an empty one"
    assert len(open_data(kitti, "train", skip_bad=True)) == 1


def test_images_that_are_missing_or_damaged(kitti: Path) -> None:
    images = kitti / "training" / "image_2"
    (images / "b.png").write_bytes(b"")
    assert message(kitti) == f"{images / 'b.png'}: the image cannot be read: it is no image, or damaged"
    (images / "b.png").unlink()
    expected = f"{kitti / 'train.txt'}, line 2: no image 'b' with suffix .png, .jpg, .jpeg in {images}"
    assert message(kitti) == expected
    data = open_data(kitti, "train", skip_bad=True)
    assert ([sample.image_id for sample in data], data.skipped.count) == (["a"], 1)


def test_a_bad_list(kitti: Path) -> None:
    (kitti / "train.txt").write_text("a\nb\na\n")
    assert message(kitti) == f"{kitti / 'train.txt'}, line 3: 'a' is listed twice, first in line 1; remove one"
    (kitti / "train.txt").write_text("\n")
    assert message(kitti) == f"{kitti / 'train.txt'}: split 'train' has no images"
    (kitti / "train.txt").write_text("../../a\n")
    assert "line 1: no image '../../a'" in message(kitti)


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        (
            ["Car", "Pedestrain"],
            "no class 'Pedestrain' in this data; did you mean 'Pedestrian'?; "
            "it has Car, Van, Truck, Pedestrian, Person_sitting, Cyclist, Tram, Misc",
        ),
        (["Car", "DontCare"], "'DontCare' is no class: it marks regions to ignore; leave it out"),
        (["Car", "Van", "Car"], "a class is named twice: Car, Van, Car"),
        ([], "the list of classes is empty; name at least one, or leave it out to get all"),
    ],
)
def test_classes_that_do_not_fit(kitti: Path, classes: list[str], problem: str) -> None:
    assert message(kitti, classes=classes) == f"{kitti}: {problem}"


def test_no_object_at_all(kitti: Path) -> None:
    for name in "abc":
        rewrite(kitti, "", name)
    expected = f"{kitti}: there is no class: not one object is annotated; name the classes yourself (--classes)"
    assert message(kitti) == expected
    assert len(open_data(kitti, "train", classes=["Car"])) == 2


@pytest.mark.shared
def test_kitti_tiny(shared: Path) -> None:
    counts = {
        "train": (50, {"Car": 147, "Pedestrian": 23, "Cyclist": 7}, 145 + 14 + 7 + 4 + 0 + 2),
        "val": (25, {"Car": 62, "Pedestrian": 13, "Cyclist": 7}, 43 + 11 + 3 + 5 + 5 + 1),
    }
    for split, (images, objects, regions) in counts.items():
        data = open_data(shared / "data" / "kitti_tiny", split, classes=list(objects))
        found = Counter(data.class_names[label] for sample in data for label in sample.targets.labels.tolist())
        assert len(data) == images
        assert found == objects
        assert sum(len(sample.targets.ignored) for sample in data) == regions
        assert data.skipped.count == 0
    first = open_data(shared / "data" / "kitti_tiny", "train", classes=["Pedestrian"])[0]
    assert torch.equal(first.targets.boxes, torch.tensor([[712.40, 143.00, 810.73, 307.92]]))
    assert first.image().shape == (3, *first.size) == (3, 370, 1224)
