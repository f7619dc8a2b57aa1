"""A record of what MMDetection computed: tensors by dotted names, and the settings that they were made with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from zoo_core.types import ImageBatch, Size, Targets


@dataclass(frozen=True)
class Record:
    """Tensors by name. ``record.under("rpn")["encode"]`` is ``record["rpn.encode"]``."""

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Record:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
            return cls(tensors, json.loads(file.metadata()["settings"]))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def under(self, prefix: str) -> Record:
        found = {name.removeprefix(f"{prefix}."): t for name, t in self.tensors.items() if name.startswith(f"{prefix}.")}
        return Record(found, self.settings.get(prefix, {}))

    def levels(self, name: str) -> list[Tensor]:
        """Return ``name.0``, ``name.1``, … as far as they go."""
        found: list[Tensor] = []
        while f"{name}.{len(found)}" in self.tensors:
            found.append(self.tensors[f"{name}.{len(found)}"])
        return found


def batch_of(metas: Sequence[Mapping[str, Any]], tensor: Tensor | None = None, targets: Sequence[Targets] = ()) -> ImageBatch:
    """Return a ready batch of images with MMDetection's metadata; zeros when there is no tensor."""

    def sizes(name: str) -> tuple[Size, ...]:
        return tuple((meta[name][0], meta[name][1]) for meta in metas)

    tensor = torch.zeros(len(metas), 3, *metas[0]["batch_input_shape"]) if tensor is None else tensor
    return ImageBatch(tensor, sizes("img_shape"), sizes("pad_shape"), sizes("ori_shape"), tuple(targets) or None)


def close(found: Tensor, wanted: Tensor, *, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """Assert that two tensors agree; by default within what holds for a single component."""
    torch.testing.assert_close(found, wanted, rtol=rtol, atol=atol)


def equal(found: Tensor, wanted: Tensor) -> None:
    """Assert that two tensors are the same, value by value."""
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
