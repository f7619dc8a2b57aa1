"""What the assigners of the YOLO head have in common: they look at the priors of some cells, whatever their number."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_core.types import Assignment, Detections, Targets
from zoo_yolo.head.cells import Cells
from zoo_yolo.head.specs import AnchorIoUSpec, ShapeMatchSpec


class CellRule(ABC):
    """Sorts the priors by cell, once for all images of a batch, and leaves to `match` which of them answer for a target."""

    def __init__(self, spec: AnchorIoUSpec | ShapeMatchSpec) -> None:
        self._type = spec.type
        self._sorted: tuple[Tensor, Tensor, Cells] | None = None

    @abstractmethod
    def match(self, cells: Cells, priors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pairs, as (prior (P,), target (P,)), of priors (A, 4), one at least, and boxes (T, 4), one at least."""

    def __call__(
        self,
        priors: Tensor,
        targets: Targets,
        predictions: Detections | None = None,  # noqa: ARG002
        strides: Tensor | None = None,
    ) -> Assignment:
        """Match priors (A, 4) on maps of `strides` (A,) with the targets of one image."""
        if strides is None:
            raise InputError(f"assigner '{self._type}' matches cells; it needs `strides`, that of the map of each prior")
        ignored = torch.zeros(len(priors), dtype=torch.bool, device=priors.device)
        if not len(priors) or not len(targets):
            nothing = torch.zeros(0, dtype=torch.int64, device=priors.device)
            return Assignment(nothing, nothing, ignored)
        prior, target = self.match(self._cells_of(priors, strides), priors, targets.boxes)
        return Assignment(prior, target, ignored)

    def _cells_of(self, priors: Tensor, strides: Tensor) -> Cells:
        """Return the priors by cell; those of the last call again if it was about the very same tensors."""
        known = self._sorted
        if known is None or known[0] is not priors or known[1] is not strides:
            known = self._sorted = (priors, strides, Cells(priors, strides))
        return known[2]
