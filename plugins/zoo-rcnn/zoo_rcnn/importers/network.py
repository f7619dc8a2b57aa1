"""A Faster R-CNN with ResNet and FPN, as the shapes of its tensors tell it, and the detector that they make."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import torch

from zoo_core.build import build
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError
from zoo_core.hub import fill
from zoo_core.importing import ImportRequest
from zoo_core.recipes import resolve
from zoo_core.report import LoadReport
from zoo_rcnn.importers.state_dict import Renamed, Weights

RECIPES = {
    ((2, 2, 2, 2), False): "faster_rcnn_r18_fpn",
    ((3, 4, 6, 3), False): "faster_rcnn_r34_fpn",
    ((3, 4, 6, 3), True): "faster_rcnn_r50_fpn",
    ((3, 4, 23, 3), True): "faster_rcnn_r101_fpn",
}
"""By how many blocks the four stages have, and whether these have three convolutions."""
BODY = "backbone.body"
COUNT = "num_batches_tracked"
NO_COUNT = "0, for the file counts no batches"


def detector_of(found: Renamed, request: ImportRequest, options: Mapping[str, Any], names: Sequence[str] | None) -> Detector:
    """Return the detector of tensors under our names, with its report.

    Args:
        found: of a detector whose background is the last row.
        request: its recipe, where there is one, says what the backbone is; without one the backbone is found from the shapes.
        options: how the other project runs such a network, as options of the recipe.
        names: of the classes, where the file has any.

    Raises:
        CheckpointError: shapes that are those of no recipe.
    """
    weights = found.tensors
    recipe = request.recipe or _recipe(weights)
    given = request.class_names or names
    backbone = dict(options.get("backbone", {}))
    if request.recipe:  # its backbone has options of its own; but where the stride is, the weights say
        backbone = {name: value for name, value in backbone.items() if name == "stride_first"}
    if f"{BODY}.layer1.0.conv3.weight" not in weights:  # blocks of two convolutions have one form
        backbone.pop("stride_first", None)
    spec: Any = resolve(resolve(recipe, {**options, "backbone": backbone}), _widths(weights))
    anchors, due = len(weights["proposer.objectness.weight"]), len(spec.proposer.scales) * len(spec.proposer.ratios)
    if anchors != due:
        raise CheckpointError(f"it proposes {anchors} boxes per cell, not {due}, and does not say of what sizes")
    if names is not None and request.class_names is None and len(names) != spec.num_classes:
        due = spec.num_classes
        raise CheckpointError(f"has names for {len(names)} classes and weights for {due}; give the names yourself (--names)")
    detector = build(spec, given)
    counts = {name: NO_COUNT for name in detector.state_dict() if name.endswith(COUNT) and name not in weights}
    detector.recipe, detector.report = recipe, LoadReport(remapped={**found.rules, **counts})
    fill(detector, weights | dict.fromkeys(counts, torch.zeros((), dtype=torch.int64)), request.path)
    return detector


def check_path(request: ImportRequest) -> None:
    """Raise if a description of the network is given along, which these files do not need."""
    if request.cfg is not None:
        raise InputError(f"{request.path} describes its network itself; leave out {request.cfg}")


def _recipe(weights: Weights) -> str:
    """Return the recipe with the backbone whose blocks, and whose channels, the file has."""
    blocks = [0, 0, 0, 0]
    for name in weights:
        if match := re.match(rf"{re.escape(BODY)}\.layer([1-4])\.(\d{{1,3}})\.", name):
            blocks[int(match[1]) - 1] = max(blocks[int(match[1]) - 1], int(match[2]) + 1)
    three = f"{BODY}.layer1.0.conv3.weight" in weights
    stem, first = _shape(weights, f"{BODY}.conv1.weight", 4), _shape(weights, f"{BODY}.layer1.0.conv1.weight", 4)
    recipe = RECIPES.get((tuple(blocks), three))  # type: ignore[arg-type]
    if recipe is None or stem[0] != 64 or first[0] != 64:
        raise CheckpointError(
            f"its backbone has {blocks} blocks of {3 if three else 2} convolutions, the first with {stem[0]} and {first[0]} "
            "channels, and is none of ResNet-18, 34, 50 and 101; give a recipe that has it (--recipe)"
        )
    return recipe


def _widths(weights: Weights) -> dict[str, Any]:
    """Return, as options of a recipe, the widths of the parts and the number of classes."""
    width = _shape(weights, "neck.lateral.4.weight", 4)[0]
    proposer = _shape(weights, "proposer.conv.weight", 4)[0]
    _shape(weights, "proposer.objectness.weight", 4)
    hidden, pooled = _shape(weights, "roi_head.shared.0.weight", 2)
    side = isqrt(pooled // width) if width else 0
    if not side or side * side * width != pooled:
        raise CheckpointError(f"its box head takes {pooled} values, which are no squares of {width} channels")
    rows, deltas = _shape(weights, "roi_head.classes.weight", 2)[0], _shape(weights, "roi_head.deltas.weight", 2)[0]
    classes = rows - 1
    if classes < 1 or deltas != 4 * classes:
        raise CheckpointError(
            f"its box head has {rows} scores, the background's among them, and {deltas} coordinates; "
            "heads with boxes of their own for each class are read alone"
        )
    return {
        "num_classes": classes,
        "neck": {"width": width},
        "proposer": {"width": None if proposer == width else proposer},
        "roi_head": {"width": hidden, "roi_size": side},
    }


def _shape(weights: Weights, name: str, ndim: int) -> tuple[int, ...]:
    tensor = weights.get(name)
    if tensor is None or tensor.ndim != ndim:
        found = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}"
        raise CheckpointError(f"is no Faster R-CNN with ResNet and FPN: {name}, as it is called here, {found}")
    return tuple(tensor.shape)
