"""The state dict in a ``.pth`` file, and its tensors under the names that they have here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo_core.errors import CheckpointError
from zoo_core.pickles.checkpoint import PICKLE, ZIP

Weights = dict[str, Tensor]
Rules = Sequence[tuple[str, str]]
"""Pairs of a pattern that a whole name matches, and what it becomes; or why such a name is not read."""
STRIDES = ("4", "8", "16", "32")
"""Of the maps of a ResNet, by their numbers."""


@dataclass(frozen=True)
class Renamed:
    """Tensors under our names.

    Attributes:
        tensors: by our name.
        rules: by our name, where a tensor is from, and what was done to it.
    """

    tensors: Weights
    rules: dict[str, str]

    def changed(self, name: str, change: Callable[[Tensor], Tensor], rule: str) -> Renamed:
        """Return the same with one tensor changed, and `rule` to say how; as it is where there is no such tensor."""
        tensor = self.tensors.get(name)
        if tensor is None:
            return self
        told = ", ".join(filter(None, [self.rules.get(name), rule]))
        return Renamed(self.tensors | {name: change(tensor)}, self.rules | {name: told})


def is_pth(path: Path) -> bool:
    """Return whether it is a file of PyTorch named ``*.pth``."""
    if path.suffix.lower() != ".pth":
        return False
    with path.open("rb") as file:
        return file.read(len(ZIP)).startswith((ZIP, PICKLE))


def state_dict_of(content: Any, names: Sequence[str]) -> Weights:
    """Return the state dict that a file holds: all of it, or what is under one of `names`; without a wrapper's "module."."""
    held = content
    for name in names:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            held = content[name]
            break
    if not isinstance(held, Mapping) or not held:
        raise CheckpointError(f"holds {'nothing' if not held else f'a {type(held).__name__}'} where a state dict is due")
    strange = [key for key, value in held.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"holds no state dict: {str(strange[0])[:60]!r} is no tensor")
    wrapped = all(key.startswith("module.") for key in held)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in held.items()}


def renamed(weights: Weights, rules: Rules, refused: Rules, makers: str) -> Renamed:
    """Return the tensors under our names: the first rule counts. In a replacement ``{1}`` is the stride of map number 1.

    Raises:
        CheckpointError: a name that no rule is for; of `refused` it says why, else that it is none of `makers`.
    """
    names = {name: _renamed(name, rules) for name in weights}
    strange = [name for name, new in names.items() if new is None]
    for pattern, why in refused:
        if hit := next((name for name in strange if re.fullmatch(pattern, name)), None):
            raise CheckpointError(f"holds {hit[:100]}: {why}")
    if strange:
        shown = ", ".join(name[:100] for name in strange[:3])
        raise CheckpointError(
            f"{len(strange)} of its {len(weights)} tensors are none of a Faster R-CNN with ResNet and FPN of {makers}: {shown}"
        )
    found = {new: name for name, new in names.items() if new is not None}
    if double := [name for name, new in names.items() if new is not None and found[new] != name]:
        raise CheckpointError(f"holds one tensor under two names, of which one is {double[0][:100]}")
    return Renamed({new: weights[name] for new, name in found.items()}, {new: f"from {name}" for new, name in found.items()})


def _renamed(name: str, rules: Rules) -> str | None:
    """Return the name after the first rule whose pattern it matches."""
    return next((_replaced(match, words) for pattern, words in rules if (match := re.fullmatch(pattern, name))), None)


def _replaced(match: re.Match[str], words: str) -> str:
    strides = [STRIDES[int(group)] if group in ("0", "1", "2", "3") else "" for group in match.groups()]
    return re.sub(r"\\(\d)|\{(\d)\}", lambda m: match[int(m[1])] if m[1] else strides[int(m[2]) - 1], words)
