"""From a spec to a detector, in the order in which the data flows. Derived numbers are computed here, never written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zoo_core.detectors.detector import Detector
from zoo_core.detectors.specs import DetectorSpec, OneStageSpec, TwoStageSpec
from zoo_core.errors import InputError
from zoo_core.recipes import resolve
from zoo_core.registry import find
from zoo_core.specs import ComponentSpec


def build_part(kind: str, spec: ComponentSpec, *arguments: Any) -> Any:
    """Return the part that `spec` describes: ``Target(spec, *arguments)``. For parts that hold other parts, too."""
    return find(kind, spec.type).target()(spec, *arguments)


def build(spec: ComponentSpec, class_names: Sequence[str] | None = None) -> Detector:
    """Return a detector with freshly initialised weights; nothing is loaded.

    Args:
        spec: the complete options of a detector.
        class_names: one per class; by default "class 0", "class 1", …
    """
    if not isinstance(spec, DetectorSpec):
        raise InputError(f"a detector is built from a DetectorSpec, not from a {type(spec).__name__}")
    class_names = [f"class {k}" for k in range(spec.num_classes)] if class_names is None else list(class_names)
    if len(class_names) != spec.num_classes or len(set(class_names)) != spec.num_classes:
        raise InputError(f"{spec.num_classes} classes need as many different names, got {class_names}")
    backbone = build_part("backbone", spec.backbone)
    neck = None if spec.neck is None else build_part("neck", spec.neck, backbone.channels)
    channels = backbone.channels if neck is None else neck.channels
    parts: dict[str, Any] = {
        "preprocess": build_part("preprocess", spec.preprocess),
        "backbone": backbone,
        "neck": neck,
    }
    if isinstance(spec, OneStageSpec):
        parts["head"] = build_part("dense_head", spec.head, channels, spec.num_classes)
    if isinstance(spec, TwoStageSpec):
        parts["proposer"] = build_part("dense_head", spec.proposer, channels, 1)
        parts["roi_head"] = build_part("roi_head", spec.roi_head, channels, spec.num_classes)
    detector: Detector = find("assembly", spec.type).target()(spec, class_names, **parts)
    # Convolutions are faster with the channels innermost (docs/speed.md); names, shapes and numbers stay.
    return detector.to(memory_format=torch.channels_last)


def create(
    recipe: str | ComponentSpec,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    **overrides: Any,
) -> Detector:
    """Return a new detector.

    Args:
        recipe: the name of a recipe (see `zoo.list_models`), or a complete spec.
        num_classes: number of classes, background not counted; by default the recipe's, or as many as there are names.
        class_names: names of the classes.
        **overrides: any option of the recipe. A string or a spec replaces a part (``backbone="resnet50"``), a dict
            changes options of it (``roi_head={"width": 256}``).

    Raises:
        UnknownNameError: no recipe of that name; the nearest is given.
        SpecError: options that do not fit, all of them.
        InputError: class names that do not fit the number of classes.
        CheckpointError: backbone weights that cannot be used.

    Example:
        >>> model = zoo.create("faster_rcnn_r18_fpn", class_names=("Car", "Pedestrian", "Cyclist"))
    """
    if isinstance(class_names, str):
        raise InputError(f"class_names is a sequence of names, not one string: {class_names!r}")
    if num_classes is None and class_names is not None:
        num_classes = len(class_names)
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    detector = build(resolve(recipe, overrides), class_names)
    detector.recipe = recipe if isinstance(recipe, str) else ""
    detector.backbone.load_pretrained()
    return detector
