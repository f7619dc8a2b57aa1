"""Results as they leave the program: files in COCO's form, written wholly or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from zoo_core.data.samples import DetectionData
from zoo_core.errors import InputError
from zoo_core.types import Detections


def check_detections(data: DetectionData, detections: Sequence[Detections]) -> None:
    """Raise `InputError` unless there is one `Detections` per image, with labels of the data set's classes."""
    if len(detections) != len(data):
        raise InputError(f"{len(detections)} detections for {len(data)} images; there must be one for each image, in order")
    count = len(data.class_names)
    for index, found in enumerate(detections):
        if len(found) and not 0 <= int(found.labels.min()) <= int(found.labels.max()) < count:
            raise InputError(
                f"the detections of image {index} have labels {int(found.labels.min())} … {int(found.labels.max())}, "
                f"but the data set has {count} classes (labels 0 … {count - 1})"
            )


def coco_results(data: DetectionData, detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """Return the detections in COCO's result form, https://cocodataset.org/#format-results.

    Args:
        data: the data set; gives each image its id and each class its category id.
        detections: one per image, in the order of the data set, in the pixels of the original images.

    Returns:
        One dict per box: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in pixels) and ``score``. Numbers are
        not rounded, so that the file gives the same metrics as the detections themselves.
    """
    check_detections(data, detections)
    categories = list(data.category_ids)
    results = []
    for index, found in enumerate(detections):
        image_id = data[index].image_id
        boxes = found.boxes.detach().to("cpu", torch.float64)
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)  # (N, 4) x, y, width, height
        for box, score, label in zip(boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
            results.append({"image_id": image_id, "category_id": categories[label], "bbox": box, "score": score})
    return results


def write_json(value: object, path: Path | str) -> Path:
    """Write `value` as JSON, wholly or not at all: to a temporary file beside `path`, which then takes its place.

    Raises:
        InputError: `value` holds a NaN or an infinity, or the file cannot be written.
    """
    path = Path(path)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InputError(f"{path} is not written: the results hold a number that is not finite") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _umask() -> int:
    umask = os.umask(0)  # it can only be read by setting it; mkstemp gives 0600, which others could not read
    os.umask(umask)
    return umask


def write_coco_results(data: DetectionData, detections: Sequence[Detections], path: Path | str) -> Path:
    """Write `coco_results` to a JSON file, wholly or not at all, and return its path."""
    return write_json(coco_results(data, detections), path)
