"""KITTI object detection (Geiger, Lenz, Urtasun, CVPR 2012), as it is unpacked, and with lists of splits beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from zoo_core.data.annotations import Annotations, BadBoxError
from zoo_core.data.format import DataFormat, chosen_classes
from zoo_core.data.samples import DetectionData, Sample, SampleTable, Skipped
from zoo_core.data.specs import KittiSpec
from zoo_core.errors import DataError
from zoo_core.images import image_size
from zoo_core.types import Size

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
"""The benchmark's own classes, in the order of its documentation."""
DONT_CARE = "DontCare"

_IMAGES = Path("training", "image_2")
_LABELS = Path("training", "label_2")
_SUFFIXES = (".png", ".jpg", ".jpeg")
_LISTS = ("train", "val", "trainval", "test")
_FIELDS = 15  # type truncated occluded alpha x1 y1 x2 y2 height width length x y z rotation; results have a score as well


class Kitti(DataFormat):
    """Images and label files under ``training/``; a split is a list of names, ``train.txt`` or ``ImageSets/train.txt``."""

    looks_for = "training/image_2/ and training/label_2/; train.txt and val.txt list the images of a split"

    def __init__(self, spec: KittiSpec) -> None:
        self.spec = spec

    def recognises(self, path: str | Path) -> bool:
        """Return whether images and labels are there."""
        return (Path(path) / _IMAGES).is_dir() and (Path(path) / _LABELS).is_dir()

    def splits(self, path: str | Path) -> list[str]:
        """Return the names of the lists; "train", which is then all images, where there is no list."""
        return sorted(_split_lists(Path(path))) or ["train"]

    def read(self, path: str | Path, split: str, classes: Sequence[str] | None, skipped: Skipped) -> DetectionData:
        """Return a split. DontCare regions and objects of classes that are not chosen become ignore regions."""
        root = Path(path)
        names = _class_names(root, classes)
        labels = {name: label for label, name in enumerate(names)}
        images = {p.stem: p for p in sorted((root / _IMAGES).iterdir()) if p.suffix.lower() in _SUFFIXES}
        listed = _split_lists(root).get(split)
        frames = [(name, None) for name in images] if listed is None else _listed(listed)
        samples = SampleTable(_samples(root, frames, images, labels, listed, skipped))
        if not samples:
            raise DataError(f"split '{split}' has no images", listed or root / _IMAGES)
        return DetectionData(names, samples, tuple(range(1, len(names) + 1)), str(path), split, "kitti", skipped)


def _split_lists(root: Path) -> dict[str, Path]:
    files = {p.stem: p for p in (root / "ImageSets").glob("*.txt")}
    return files | {name: root / f"{name}.txt" for name in _LISTS if (root / f"{name}.txt").is_file()}


def _listed(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (name of the image, line) of a list."""
    first: dict[str, int] = {}
    for line, text in enumerate(_text(path).splitlines(), start=1):
        name = text.strip()
        if not name:
            continue
        if name in first:
            raise DataError(f"'{name}' is listed twice, first in line {first[name]}; remove one", path, line)
        first[name] = line
        yield name, line


def _class_names(root: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the chosen classes; or those that occur in any split, so that all splits agree on the labels."""
    occurring = {name for path in (root / _LABELS).glob("*.txt") for name in _mentioned(path)} - {DONT_CARE}
    others = sorted(occurring - set(CLASSES))
    if classes is None:
        return chosen_classes(None, [name for name in (*CLASSES, *others) if name in occurring], root)
    if DONT_CARE in classes:
        raise DataError(f"'{DONT_CARE}' is no class: it marks regions to ignore; leave it out", root)
    return chosen_classes(classes, (*CLASSES, *others), root)


def _samples(
    root: Path,
    frames: Iterable[tuple[str, int | None]],
    images: Mapping[str, Path],
    labels: Mapping[str, int],
    listed: Path | None,
    skipped: Skipped,
) -> Iterator[Sample]:
    for name, line in frames:
        try:
            if name not in images:
                raise DataError(f"no image '{name}' with suffix {', '.join(_SUFFIXES)} in {root / _IMAGES}", listed, line)
            size = image_size(images[name])
            targets = _annotations(root / _LABELS / f"{name}.txt", size, labels, skipped).targets()
        except DataError as error:
            skipped.note(error)
            continue
        yield Sample(image_id=name, size=size, targets=targets, path=images[name])


def _annotations(path: Path, size: Size, labels: Mapping[str, int], skipped: Skipped) -> Annotations:
    found = Annotations(size)
    for line, text in enumerate(_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            name, box = _object(text, path, line)
            if name in labels:
                found.add(box, labels[name])
            else:
                found.ignore(box)
        except BadBoxError as error:
            skipped.note(DataError(f"{error}; correct or delete the line, or leave such boxes out (--skip-bad)", path, line))
    return found


def _object(text: str, path: Path, line: int) -> tuple[str, list[float]]:
    """Return (class, xyxy) of a line."""
    fields = text.split()
    if len(fields) not in (_FIELDS, _FIELDS + 1):
        raise DataError(
            f"expected {_FIELDS} fields (type truncated occluded alpha x1 y1 x2 y2 …), found {len(fields)}", path, line
        )
    try:
        return fields[0], [float(field) for field in fields[4:8]]
    except ValueError:
        raise DataError(f"the box (fields 5 to 8) must be four numbers, found '{' '.join(fields[4:8])}'", path, line) from None


def _mentioned(path: Path) -> set[str]:
    """Return the classes in a label file; what is wrong with it is said when it is read for its boxes."""
    try:
        lines = [line.split() for line in _text(path).splitlines()]
    except DataError:
        return set()
    return {fields[0] for fields in lines if len(fields) in (_FIELDS, _FIELDS + 1)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError("there is no such file; an image without objects has an empty one", path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the file cannot be read as text: {error}", path) from error
