"""From a spec to a detector, in the order in which the data flows. Derived numbers are computed here, never written."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from zoo_core.detectors.detector import Detector
from zoo_core.detectors.specs import DetectorSpec, OneStageSpec, TwoStageSpec
from zoo_core.errors import InputError, ZooError
from zoo_core.plugins import FOREIGN
from zoo_core.registry import find
from zoo_core.specs import ComponentSpec


def build_part(kind: str, spec: ComponentSpec, *arguments: Any, **parts: Any) -> Any:
    """Return the part that `spec` describes: ``Target(spec, *arguments, **parts)``. For parts that hold others, too.

    Raises:
        ZooError: whatever the part finds wrong; an `InputError` where it fails in another way, such as for want of memory.
    """
    target = find(kind, spec.type).target()
    try:
        return target(spec, *arguments, **parts)
    except ZooError:
        raise
    except FOREIGN as error:
        part = f"{kind.replace('_', ' ')} '{spec.type}'"
        why = str(error).partition("\n")[0]  # PyTorch adds where in its own code
        raise InputError(f"{part} cannot be built with these options: {type(error).__name__}: {why}") from error


def build(spec: ComponentSpec, class_names: Sequence[str] | None = None) -> Detector:
    """Return a detector with freshly initialised weights; nothing is loaded.

    Args:
        spec: the complete options of a detector.
        class_names: one per class; by default "class 0", "class 1", …
    """
    if not isinstance(spec, DetectorSpec):
        raise InputError(f"a detector is built from a DetectorSpec, not from a {type(spec).__name__}")
    names = list(numbered(spec.num_classes)) if class_names is None else checked_names(class_names)
    if len(names) != spec.num_classes:
        raise InputError(f"{spec.num_classes} classes need as many names, got {len(names)}: {', '.join(names)}")
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
    detector: Detector = build_part("assembly", spec, names, **parts)
    # Convolutions are faster with the channels innermost (docs/speed.md); names, shapes and numbers stay.
    return detector.to(memory_format=torch.channels_last)


def numbered(count: int) -> tuple[str, ...]:
    """Return the names of classes that nobody named."""
    return tuple(f"class {k}" for k in range(count))


def plain(name: str) -> str:
    """Return the name of a class without what spellings differ in: case, spaces, "_" and "-"."""
    return "".join(name.casefold().replace("_", " ").replace("-", " ").split())


def checked_names(class_names: Sequence[str]) -> list[str]:
    """Return the names of classes; raise `InputError` unless they are different strings that are not empty and that print."""
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise InputError(f"class_names is a sequence of names, not one {type(class_names).__name__}: {class_names!r}")
    names = list(class_names)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"the name of a class is a string that is not empty, not {name!r}")
    for name in names:  # they come from files of others, go to terminals, which obey control characters, and into files
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise InputError(f"the name of a class holds no control characters, as {name!r} does")
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{count} classes are named '{name}'")
    return names
