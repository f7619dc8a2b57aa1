"""What may become of a mutated file: an error that a person can read, or a load that is right; and at what cost.

A load is right if every tensor of the detector is the file's (as another reader of the format finds it), all are finite, the
class names are the file's, and the detector finds something or nothing in a small picture without failing. Changes that leave
a file as good as another are therefore legal: a flipped bit in a weight that stays finite, another text in ``README.md``.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from zoo_core import hub
from zoo_core.build import build_part
from zoo_core.detectors.detector import Detector
from zoo_core.detectors.specs import KeepRatioSpec
from zoo_core.errors import BrokenPluginError, ZooError

LONGEST = 2_000
"""Letters that a message has at most."""
PICTURE = (torch.arange(3 * 40 * 50) * 37 % 256).to(torch.uint8).view(3, 40, 50)
SIDE = 512
"""Where the options of a file ask for larger pictures than this, the detector is given small ones: it would only be slow."""


class WrongError(Exception):
    """An outcome that may not be."""


def refused(error: BaseException) -> str:
    """Return the kind of an error; raise `WrongError` if it is none that a person should see."""
    if isinstance(error, BrokenPluginError):
        raise WrongError(f"a bad file is said to be a plugin's fault: {str(error)[:300]}") from error
    if not isinstance(error, ZooError):
        raise WrongError(f"not a ZooError: {type(error).__name__}: {str(error)[:300]}") from error
    text = str(error)
    if not text.strip() or len(text) > LONGEST:
        raise WrongError(f"{type(error).__name__} of {len(text)} letters: {text[:300]!r}") from error
    strange = sorted({letter for letter in text if letter != "\n" and unicodedata.category(letter) in ("Cc", "Cs")})
    if strange or "Traceback (most recent call last)" in text:
        raise WrongError(f"{type(error).__name__} with {strange}: {text[:300]!r}") from error
    return type(error).__name__


def runs(model: Detector) -> str:
    """Check that a loaded detector is usable."""
    bad = [name for name, t in model.state_dict().items() if t.is_floating_point() and not t.isfinite().all()]
    if bad:
        raise WrongError(f"loaded, and {bad[0]} is not finite")
    options: dict[str, Any] = model.spec.preprocess.model_dump()  # type: ignore[attr-defined]
    sides = [options.get(name, 0) for name in ("long_side", "short_side", "height", "width", "pad_multiple")]
    if max(sides) > SIDE:
        model.preprocess = build_part("preprocess", KeepRatioSpec(long_side=64, short_side=64))
    (found,) = model.predict(PICTURE)
    if len(found) and not (found.boxes.isfinite().all() and int(found.labels.max()) < len(model.class_names)):
        raise WrongError("loaded, and what it finds is no detection")
    return "loaded, and runs"


def same(model: Detector, folder: Path) -> str:
    """Check that a detector is the one of a folder, which still exists."""
    there = safetensors.torch.load((folder / hub.WEIGHTS).read_bytes())
    own = model.state_dict()
    if own.keys() != there.keys():
        raise WrongError("loaded, with other tensors than the file has")
    for name, tensor in own.items():
        if not torch.equal(tensor, there[name].to(tensor.dtype)):
            raise WrongError(f"loaded, and {name} is not the file's")
    names = json.loads((folder / hub.CONFIG).read_text(encoding="utf-8"))["class_names"]
    if list(model.class_names) != names or model.spec.num_classes != len(names):  # type: ignore[attr-defined]
        raise WrongError("loaded, with other class names than the file has")
    return runs(model)
