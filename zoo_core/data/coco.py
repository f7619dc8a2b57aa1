"""COCO object detection (Lin et al., ECCV 2014): a JSON file of annotations for each split."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeAlias

from zoo_core.data.annotations import Annotations, BadBoxError
from zoo_core.data.format import DataFormat, chosen_classes
from zoo_core.data.samples import DetectionData, Sample, SampleTable, Skipped
from zoo_core.data.specs import CocoSpec
from zoo_core.errors import DataError

Row: TypeAlias = Mapping[str, Any]

_PREFIX = "instances_"
_TABLES = ("images", "annotations", "categories")
_LARGEST = 1e15  # a number beyond is no coordinate; JSON's whole numbers may even exceed what a float holds
_LARGEST_SIDE = 10**6
_HEAD = 65536  # bytes of a JSON file that are looked at to tell whether it may be COCO's


class Coco(DataFormat):
    """``annotations/instances_SPLIT.json``, or one JSON file beside the images, which is then the split "train"."""

    looks_for = "annotations/instances_SPLIT.json with images in SPLIT/ or images/SPLIT/; or one COCO JSON beside its images"

    def __init__(self, spec: CocoSpec) -> None:
        self.spec = spec

    def recognises(self, path: str | Path) -> bool:
        """Return whether there is a file of annotations."""
        return bool(_files(Path(path)))

    def splits(self, path: str | Path) -> list[str]:
        """Return the names of the files of annotations, without "instances_"."""
        return sorted(_files(Path(path)))

    def read(self, path: str | Path, split: str, classes: Sequence[str] | None, skipped: Skipped) -> DetectionData:
        """Return a split. Crowds and objects of classes that are not chosen become ignore regions."""
        file = _files(Path(path))[split]
        document = Document(file)
        names = chosen_classes(classes, document.categories.values(), file)
        number = {name: category for category, name in document.categories.items()}
        samples = SampleTable(_samples(document, Folder(Path(path), split, document), names, skipped))
        if not samples:
            raise DataError("it has no images", file)
        return DetectionData(names, samples, tuple(number[name] for name in names), str(path), split, "coco", skipped)


def _files(root: Path) -> dict[str, Path]:
    """Return the files of annotations by split."""
    found = {p.stem.removeprefix(_PREFIX): p for p in (root / "annotations").glob(f"{_PREFIX}*.json")}
    if found:
        return found
    alone = list(root.glob("*.json"))
    return {"train": alone[0]} if len(alone) == 1 and _looks_like_coco(alone[0]) else {}


def _looks_like_coco(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.lstrip().startswith(b"{") and any(f'"{table}"'.encode() in head for table in _TABLES)


class Document:
    """A file of annotations, checked.

    Attributes:
        path: the file.
        images: the row of each image by its id, in the order of the file.
        annotations: (place for messages, row) of each annotation by the id of its image.
        categories: the name of each category by its id, in the order of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = _parsed(path)
        tables = {table: self._table(content, table) for table in _TABLES}
        self.images = self._unique(tables["images"], "images", {"file_name": str, "width": int, "height": int})
        categories = self._unique(tables["categories"], "categories", {"name": str})
        self.categories: dict[int, str] = {number: row["name"] for number, row in categories.items()}
        if len(set(self.categories.values())) < len(self.categories):
            raise DataError("two categories have the same name; rename one", path)
        self.annotations: dict[int, list[tuple[str, Row]]] = {}
        for number, row in self.images.items():
            if not (0 < row["width"] < _LARGEST_SIDE and 0 < row["height"] < _LARGEST_SIDE):
                raise DataError(f"image {number}: its size is given as {row['width']} x {row['height']}", path)
        for index, row in enumerate(tables["annotations"]):
            self._add_annotation(index, row)

    def _table(self, content: Mapping[str, Any], table: str) -> list[Row]:
        rows = content.get(table)
        if not isinstance(rows, list):
            raise DataError(f"expected a list under the key '{table}', found {_shown(rows)}", self.path)
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise DataError(f"{table}[{index}] must be an object, found {_shown(row)}", self.path)
        return rows

    def _unique(self, rows: Sequence[Row], table: str, fields: Mapping[str, type]) -> dict[int, Row]:
        found: dict[int, Row] = {}
        for index, row in enumerate(rows):
            place = f"{table}[{index}]"
            for key, kind in {"id": int, **fields}.items():
                self._check(row, key, kind, place)
            if row["id"] in found:
                raise DataError(f"{place}: the id {row['id']} is taken by an earlier one; ids must differ", self.path)
            found[row["id"]] = row
        return found

    def _check(self, row: Row, key: str, kind: type, place: str) -> None:
        if key not in row:
            raise DataError(f"{place} has no '{key}'", self.path)
        if type(row[key]) is not kind:  # JSON knows no subclasses; a bool is no number
            raise DataError(f"{place}: '{key}' must be {_KIND_NAMES[kind]}, found {_shown(row[key])}", self.path)

    def _add_annotation(self, index: int, row: Row) -> None:
        place = f"annotation {row['id']}" if "id" in row else f"annotations[{index}]"
        for key, table in (("image_id", self.images), ("category_id", self.categories)):
            self._check(row, key, int, place)
            if row[key] not in table:
                raise DataError(f"{place}: there is no {key.removesuffix('_id')} with id {row[key]} in this file", self.path)
        self._check(row, "bbox", list, place)
        box, crowd, area = row["bbox"], row.get("iscrowd", 0), row.get("area")
        if len(box) != 4 or not all(_is_number(value) for value in box):
            raise DataError(f"{place}: 'bbox' must be four numbers [x, y, width, height], found {_shown(box)}", self.path)
        if crowd not in (0, 1):
            raise DataError(f"{place}: 'iscrowd' must be 0 or 1, found {_shown(crowd)}", self.path)
        if area is not None and not (_is_number(area) and area >= 0):
            raise DataError(f"{place}: 'area' must be a number that is not negative, found {_shown(area)}", self.path)
        self.annotations.setdefault(row["image_id"], []).append((place, row))


_KIND_NAMES = {int: "a whole number", str: "a text", list: "a list"}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and not (value > _LARGEST or value < -_LARGEST)


def _shown(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(
            f"no valid JSON: {error.msg} (column {error.colno}); is the file complete?", path, error.lineno
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"the file cannot be read as JSON: {error}", path) from error
    if not isinstance(content, dict):
        raise DataError(f"expected an object with {', '.join(_TABLES)}, found {_shown(content)}", path)
    return content


class Folder:
    """Where the images of a split lie: the first of the usual places that has one of them."""

    def __init__(self, root: Path, split: str, document: Document) -> None:
        self._document = document
        places = [root / split, root / "images" / split, root / "images", root]
        names = [row["file_name"] for row in list(document.images.values())[:50]]
        found = [place for place in places if any((place / name).is_file() for name in names)]
        if names and not found:
            looked = ", ".join(str(place) for place in places)
            raise DataError(f"none of its images, such as '{names[0]}', is in any of {looked}", document.path)
        self.path = found[0] if found else root
        self._names = {entry.name for entry in os.scandir(self.path)}

    def file(self, name: str) -> Path:
        """Return the path of an image that exists and lies within the folder."""
        readings = (PurePosixPath(name), PureWindowsPath(name))  # whatever the machine takes for a separator or a drive
        if any(".." in reading.parts or reading.anchor for reading in readings):
            raise DataError(f"the file name '{name}' points outside the folder of the images", self._document.path)
        path = self.path / name
        if name not in self._names and not path.is_file():
            raise DataError(f"there is no such image, but {self._document.path.name} lists it", path)
        return path


def _samples(document: Document, folder: Folder, names: Sequence[str], skipped: Skipped) -> Iterator[Sample]:
    labels = {category: names.index(name) for category, name in document.categories.items() if name in names}
    for number, row in document.images.items():
        try:
            path = folder.file(row["file_name"])
        except DataError as error:
            skipped.note(error)
            continue
        found = Annotations((row["height"], row["width"]))
        for place, annotation in document.annotations.get(number, []):
            problem = _add(found, annotation, labels)
            if problem:
                advice = "correct or delete the annotation, or leave such boxes out (--skip-bad)"
                skipped.note(DataError(f"{place}: {problem}; {advice}", document.path))
        yield Sample(number, (row["height"], row["width"]), found.targets(), path, found.areas())


def _add(found: Annotations, row: Row, labels: Mapping[int, int]) -> BadBoxError | None:
    """Add an annotation; return what is wrong with its box, if anything is."""
    x, y, width, height = row["bbox"]
    box = (x, y, x + width, y + height)
    label = labels.get(row["category_id"])
    try:
        if label is None:
            found.ignore(box)
        elif row.get("iscrowd"):
            found.ignore(box, label)
        else:
            found.add(box, label, row.get("area"))
    except BadBoxError as error:
        return error
    return None
