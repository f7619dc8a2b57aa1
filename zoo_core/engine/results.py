"""Results as they leave the program: files in COCO's form, written wholly or not at all, and a table for the terminal."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo_core.data.samples import DetectionData
from zoo_core.errors import InputError
from zoo_core.types import Detections

if TYPE_CHECKING:
    from rich.console import Group

    from zoo_core.engine.evaluate import Evaluation


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


def evaluation_table(evaluation: Evaluation) -> Group:
    """Return a table by class, the figures over all classes, and the notes, for ``rich``'s ``console.print``."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    columns = ("AP", "AP50", "AP75", "AR100", "voc_AP50")
    table = Table(box=None, pad_edge=False, show_footer=True, header_style="bold", footer_style="bold")
    table.add_column("class", "all", overflow="ellipsis", no_wrap=True, max_width=28)
    for name in ("objects", "detections"):
        table.add_column(name, str(sum(row[name] for row in evaluation.per_class)), justify="right")
    for name in columns:
        value = evaluation.metrics["voc_mAP50" if name == "voc_AP50" else name]
        table.add_column(name.replace("voc_AP50", "VOC50"), _shown(value), justify="right")
    for row in evaluation.per_class:
        table.add_row(
            escape(row["name"]), str(row["objects"]), str(row["detections"]), *(_shown(row[name]) for name in columns)
        )

    metrics = evaluation.metrics
    lines = [
        "  ".join(f"{name} {_shown(metrics[name])}" for name in names)
        for names in (("APs", "APm", "APl"), ("ARs", "ARm", "ARl"), ("AR1", "AR10"))
    ]
    speed = f"{evaluation.images / evaluation.seconds:.1f} a second" if evaluation.seconds else ""
    lines.append(f"{evaluation.images} images, {evaluation.seconds:.1f} s, {speed}" if speed else f"{evaluation.images} images")
    notes = [Text(f"note: {note}", style="yellow") for note in evaluation.notes]
    return Group(table, Text("\n".join(["", *lines])), *notes)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
