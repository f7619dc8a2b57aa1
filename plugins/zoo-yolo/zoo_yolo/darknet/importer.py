"""Darknet ``.weights`` files with their ``.cfg`` to detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch

from zoo_core.build import build
from zoo_core.create import create
from zoo_core.detectors.detector import Detector
from zoo_core.detectors.specs import OneStageSpec
from zoo_core.errors import CheckpointError, DataError
from zoo_core.importing import Importer, ImportRequest
from zoo_core.report import LoadReport
from zoo_core.specs import validate
from zoo_yolo.darknet.network import Network, read_network
from zoo_yolo.darknet.order import units
from zoo_yolo.darknet.weights import check_size, count_values, read
from zoo_yolo.importer_specs import DarknetImporterSpec

RGB = {"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)}
GREY = 127.5
"""What Darknet pads a letterbox with."""
EVALUATION = {"least_score": 0.005, "nms_iou": 0.45, "several_labels": True}
"""What Darknet's own measure of average precision takes."""
COCO = {
    **{"motorbike": "motorcycle", "aeroplane": "airplane", "sofa": "couch", "tvmonitor": "tv"},
    **{"pottedplant": "potted plant", "diningtable": "dining table"},
}
"""Darknet's ``coco.names`` says these classes in the words of Pascal VOC; data sets of COCO would not be matched by name."""
MOST_NAMES = 1 << 20
"""In bytes; a longer file is no list of names."""


class DarknetImporter(Importer):
    """Reads a ``.weights`` file into the network of its ``.cfg``, or into a recipe of the same layers."""

    looks_for: ClassVar[str] = "a Darknet .weights file, with its .cfg of the same name beside it or given"

    def __init__(self, spec: DarknetImporterSpec) -> None:
        self.spec = spec

    def recognises(self, path: Path) -> bool:
        """Return whether the name ends in .weights."""
        return path.suffix.lower() == ".weights"

    def read(self, request: ImportRequest) -> Detector:
        """Return the detector of the ``.cfg`` or of the recipe, with the weights of the file.

        Raises:
            CheckpointError: no ``.cfg``; a file of weights that is truncated or does not fit it.
            DataError: a ``.cfg`` that is not understood; names the line.
            ZooError: a recipe or class names that do not fit.
        """
        if request.recipe is not None:
            return self._into_recipe(request, request.recipe)
        network = read_network(_cfg(request))
        check_size(request.path, network.values, network.path.name)  # before memory is taken
        detector = build(detector_spec(network), _names(request, network.yolos[0].classes))
        read(request.path, detector, network.path.name)
        detector.report = LoadReport(loaded=list(detector.state_dict()))  # the file names none: they follow in order
        return detector

    def _into_recipe(self, request: ImportRequest, recipe: str) -> Detector:
        options: dict[str, Any] = {}
        if request.cfg is not None:
            network = read_network(request.cfg)
            check_size(request.path, network.values, network.path.name)
            spec = detector_spec(network)
            classes, options = spec.num_classes, {"preprocess": spec.preprocess, "head": spec.head}
        elif request.class_names is not None:
            classes = len(request.class_names)
        else:
            classes = _classes_of(request.path, recipe)
        detector = create(recipe, num_classes=classes, class_names=_names(request, classes), **options)
        read(request.path, detector, f"recipe '{recipe}' with {classes} classes")
        detector.report = LoadReport(loaded=list(detector.state_dict()))
        return detector


def detector_spec(network: Network) -> OneStageSpec:
    """Return the complete options of the detector that a ``.cfg`` describes."""
    yolos = sorted(network.yolos, key=lambda yolo: yolo.stride)
    first = network.yolos[0]
    head = {
        "type": "yolo_head",
        "anchors": tuple(yolo.anchors for yolo in yolos),
        "box": "square" if first.square else "exponential",
        "scale_xy": tuple(yolo.scale_xy for yolo in yolos),
        "assigner": {"type": "anchor_iou", "least_iou": first.match},
        "objectness": "one",
        "background_iou": first.ignore,
        "box_weight": first.box_weight,
        "class_weight": first.class_weight,
        "objectness_weight": 1.0,
        "balance": tuple(yolo.objectness_weight for yolo in yolos),
        "label_smoothing": first.label_smoothing,
        "divisor": "images",
        **EVALUATION,
    }
    options = {"num_classes": first.classes, "preprocess": _preprocess(network), "backbone": network.body, "head": head}
    return validate(OneStageSpec, options)


def _preprocess(network: Network) -> dict[str, Any]:
    if not network.letterbox:
        return {"type": "stretch", "height": network.height, "width": network.width, **RGB}
    if network.height != network.width:
        raise DataError(
            "letter_box=1 is supported with width equal to height only; take it out to stretch images", network.path
        )
    side = network.width
    frame = {"long_side": side, "short_side": side, "pad_multiple": side, "pad_value": GREY, "centred": True}
    return {"type": "keep_ratio", "rounding": "down", **frame, **RGB}


def _cfg(request: ImportRequest) -> Path:
    if request.cfg is not None:
        return request.cfg
    beside = request.path.with_suffix(".cfg")
    if beside.is_file():
        return beside
    raise CheckpointError(
        f"{request.path} holds numbers alone, and there is no {beside.name} beside it: give "
        "the .cfg of the network (--cfg FILE), or a recipe of the same layers (--recipe NAME)"
    )


def _classes_of(path: Path, recipe: str) -> int:
    """Return how many classes a recipe needs for as many numbers as there are in a file."""
    with torch.device("meta"):
        ordered = units(create(recipe, num_classes=1))
    least = sum(unit.values for unit in ordered)
    layers = [unit.conv for unit in ordered if unit.detects]
    one = sum((layer.in_channels + 1) * (layer.out_channels // 6) for layer in layers)  # 6: the box, objectness, a class
    more, rest = divmod(count_values(path) - least, one)
    if more < 0 or rest:
        counts = f"{least:,} values with one class and {one:,} for each more"
        raise CheckpointError(f"{path} holds {least + more * one + rest:,} values; recipe '{recipe}' needs {counts}")
    return more + 1


def _names(request: ImportRequest, classes: int) -> tuple[str, ...] | None:
    """Return the names that are given, or those in a file beside the weights: one of its name, or the only one that fits."""
    if request.class_names is not None:
        return request.class_names
    own = request.path.with_suffix(".names")
    if own.is_file():
        names = _listed(own)
        if len(names) != classes:
            raise DataError(f"holds {len(names)} names, the network has {classes} classes", own)
        return names
    lists = [_listed(path) for path in sorted(request.path.parent.glob("*.names")) if path.is_file()]
    fitting = [names for names in lists if len(names) == len(set(names)) == classes]
    return fitting[0] if len(fitting) == 1 else None


def _listed(path: Path) -> tuple[str, ...]:
    """Return the lines of a file that are not empty; of Darknet's list of the classes of COCO, COCO's own names."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_NAMES)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error
    lines = (line.strip() for line in content.decode("utf-8-sig", errors="replace").splitlines())
    names = tuple(line for line in lines if line)
    return tuple(COCO.get(name, name) for name in names) if len(names) == 80 and set(COCO) <= set(names) else names
