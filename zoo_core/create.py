"""A new detector from the name of a recipe: the front door of the zoo."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo_core.build import build, checked_names
from zoo_core.contributions import Recipe
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError, nearest
from zoo_core.importing import source_of
from zoo_core.provenance import Origin, Provenance
from zoo_core.recipes import override, resolve
from zoo_core.registry import find
from zoo_core.report import LoadReport
from zoo_core.specs import ComponentSpec
from zoo_core.transfer import carry, imported

log = logging.getLogger(__name__)


def create(
    recipe: str | ComponentSpec,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    weights: str | Path | None = None,
    class_map: Mapping[str, str] | None = None,
    **overrides: Any,
) -> Detector:
    """Return a new detector.

    Args:
        recipe: the name of a recipe (see `zoo.list_models`), or a complete spec.
        num_classes: number of classes, background not counted; by default the recipe's, or as many as there are names.
        class_names: names of the classes.
        weights: what this one begins with: a tag of the recipe ("coco"), the folder of a saved detector, ``"org/name"`` or
            ``"org/name@revision"`` on the Hub, or a file of another project (`load_weights`). What both have is carried
            over; the rows of the classes that both know, too. The rest is freshly initialised. ``detector.report`` says what
            became of each tensor, and the log in short.
        class_map: with `weights`, classes of the saved detector under other names here: ``{"person": "Pedestrian"}``.
        **overrides: any option of the recipe. A string or a spec replaces a part (``backbone="resnet50"``), a dict
            changes options of it (``roi_head={"width": 256}``).

    Raises:
        UnknownNameError: no recipe of that name; the nearest is given.
        SpecError: options that do not fit, all of them.
        InputError: class names that do not fit the number of classes, or a map of names that are not there.
        CheckpointError: weights that cannot be used.

    Example:
        >>> model = zoo.create("faster_rcnn_r18_fpn", class_names=("Car", "Pedestrian", "Cyclist"))
    """
    if weights is not None:
        model, report = continued(
            recipe, weights, class_map, num_classes=num_classes, class_names=class_names, overrides=overrides
        )
        log.info("%s", report)
        return model
    if class_map:
        raise InputError("class_map says which classes of a saved detector are which here; give that one as weights")
    names, spec = _options(recipe, num_classes, class_names, overrides)
    detector = _fresh(recipe, spec, names)
    begin_backbone(detector)
    return detector


def continued(
    recipe: str | ComponentSpec,
    weights: str | Path,
    class_map: Mapping[str, str] | None = None,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[Detector, LoadReport]:
    """Return a new detector that begins with the weights of a saved one, and what became of them. See `create`."""
    names, spec = _options(recipe, num_classes, class_names, overrides or {})
    with source_of(tagged(recipe, weights), spec) as source:
        if num_classes is None and class_names is None:
            names, spec = list(source.class_names), override(spec, {"num_classes": len(source.class_names)})
        detector = _fresh(recipe, spec, names)
        return detector, carry(detector, source, class_map or {})


def with_classes(
    found: Detector, path: Path, class_names: Sequence[str], class_map: Mapping[str, str] | None = None
) -> Detector:
    """Return a detector of the same network for other classes, which begins with the weights of one that was imported.

    Args:
        found: what `import_model` returned, which is left as it is.
        path: the file that it is from.
        class_names: of the new one.
        class_map: classes of `found` that go on under other names.

    Raises:
        InputError: names that do not fit, or a map of names that are not there.
    """
    names = checked_names(class_names)
    model = build(override(found.spec, {"num_classes": len(names)}), names)
    carry(model, imported(found, path), class_map or {})
    model.recipe = found.recipe
    return model.eval()


def tagged(recipe: str | ComponentSpec, weights: str | Path) -> str | Path:
    """Return where weights are that may be a tag of the recipe.

    Raises:
        CheckpointError: neither a tag, nor what could be a path or a name on the Hub; the nearest tag is given.
    """
    entry = find("detector", recipe) if isinstance(recipe, str) else None
    tags = entry.contribution.weights if entry and isinstance(entry.contribution, Recipe) else {}
    if isinstance(weights, str) and weights in tags:
        return tags[weights]
    if isinstance(weights, str) and weights.isidentifier() and not os.path.exists(weights):
        whose = f"'{recipe}'" if isinstance(recipe, str) else "this detector"
        hint = nearest(weights, tags) or f" ({whose} has {'the tags ' + ', '.join(tags) if tags else 'no tags'})"
        raise CheckpointError(f"'{weights}' is no tag of weights of {whose}, and no folder or file{hint}")
    return weights


def begin_backbone(detector: Detector) -> None:
    """Load the weights that the spec of a new detector's backbone asks for; ``detector.report`` says what became of them."""
    report = detector.backbone.load_pretrained()
    if report is not None:
        report = report.under("backbone.")
        rest = [name for name in detector.state_dict() if not name.startswith("backbone.")]
        detector.report = replace(report, missing=[*report.missing, *rest])


def _options(
    recipe: str | ComponentSpec, num_classes: int | None, class_names: Sequence[str] | None, overrides: Mapping[str, Any]
) -> tuple[list[str] | None, ComponentSpec]:
    """Return the names of the classes, if there are any, and the complete options."""
    names = None if class_names is None else checked_names(class_names)
    if names is not None and num_classes is None:
        num_classes = len(names)
    given = {} if num_classes is None else {"num_classes": num_classes}
    return names, resolve(recipe, {**overrides, **given})


def _fresh(recipe: str | ComponentSpec, spec: ComponentSpec, class_names: Sequence[str] | None) -> Detector:
    """Return a detector of these options, which are those of a recipe with overrides."""
    detector = build(spec, class_names)
    detector.recipe = recipe if isinstance(recipe, str) else ""
    detector.provenance = Provenance(began=Origin(kind="recipe", name=detector.recipe or detector.spec.type))
    return detector
