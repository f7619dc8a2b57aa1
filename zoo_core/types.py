"""The nouns that travel between the parts of a detector.

Boxes are ``(x1, y1, x2, y2)`` floats in pixels, continuous coordinates, width = x2 - x1. Labels are 0 … K-1; no number stands
for the background. Feature maps are keyed by stride.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from zoo_core.errors import InputError

Features: TypeAlias = dict[int, Tensor]
"""Feature maps (N, C, H, W) by stride."""
Channels: TypeAlias = dict[int, int]
"""Number of channels of each feature map, by stride."""
Losses: TypeAlias = dict[str, Tensor]
"""Scalars whose plain sum is the objective."""
Size: TypeAlias = tuple[int, int]
"""(height, width) in pixels."""

ANY_LABEL = -1
"""The label of an ignore region that holds for every class."""


def _no_boxes() -> Tensor:
    return torch.zeros(0, 4)


def _no_labels() -> Tensor:
    return torch.zeros(0, dtype=torch.int64)


def _check_boxes(name: str, boxes: Tensor) -> None:
    if not isinstance(boxes, Tensor):
        raise InputError(f"{name} must be a tensor of floats (N, 4), not a {type(boxes).__name__}")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
        raise InputError(f"{name} must be floats of shape (N, 4), not {boxes.dtype} of {tuple(boxes.shape)}")


def _check_rows(name: str, values: Tensor, rows: int, dtype: str) -> None:
    if not isinstance(values, Tensor):
        raise InputError(f"{name} must be a tensor of {dtype} ({rows},), not a {type(values).__name__}")
    integral = dtype == "int64"
    if values.shape != (rows,) or (integral and values.dtype != torch.int64) or not (integral or values.is_floating_point()):
        raise InputError(f"{name} must be {dtype} of shape ({rows},), not {values.dtype} of {tuple(values.shape)}")


@dataclass(frozen=True, slots=True)
class Targets:
    """The annotated objects of one image, and the regions of it in which nothing is known.

    Attributes:
        boxes: (N, 4) float, xyxy.
        labels: (N,) int64, 0 … K-1.
        ignored: (M, 4) float, regions that are neither object nor background (crowds, "don't care").
        ignored_labels: (M,) int64, the class that a region holds for, or `ANY_LABEL`.
    """

    boxes: Tensor = field(default_factory=_no_boxes)
    labels: Tensor = field(default_factory=_no_labels)
    ignored: Tensor = field(default_factory=_no_boxes)
    ignored_labels: Tensor = field(default_factory=_no_labels)

    def __post_init__(self) -> None:
        _check_boxes("boxes", self.boxes)
        _check_rows("labels", self.labels, len(self.boxes), "int64")
        _check_boxes("ignored", self.ignored)
        _check_rows("ignored_labels", self.ignored_labels, len(self.ignored), "int64")

    def __len__(self) -> int:
        return len(self.boxes)

    def map_boxes(self, change: Callable[[Tensor], Tensor]) -> Targets:
        """Return the targets with `change` applied to the boxes and to the ignored regions."""
        return replace(self, boxes=change(self.boxes), ignored=change(self.ignored))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Targets:
        """Return the targets on `device`."""
        moved = (t.to(device, non_blocking=non_blocking) for t in (self.boxes, self.labels, self.ignored, self.ignored_labels))
        return Targets(*moved)


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, best first. An index or a slice gives `Detections` again, and so does iteration, one by one.

    Attributes:
        boxes: (N, 4) float, xyxy.
        scores: (N,) float, 0 … 1.
        labels: (N,) int64, 0 … K-1.
    """

    boxes: Tensor = field(default_factory=_no_boxes)
    scores: Tensor = field(default_factory=lambda: torch.zeros(0))
    labels: Tensor = field(default_factory=_no_labels)

    def __post_init__(self) -> None:
        _check_boxes("boxes", self.boxes)
        _check_rows("scores", self.scores, len(self.boxes), "float")
        _check_rows("labels", self.labels, len(self.boxes), "int64")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor | slice | int) -> Detections:
        if not isinstance(index, Tensor | slice):
            place = range(len(self))[index]  # raises IndexError; a negative one counts from the end
            index = slice(place, place + 1)
        return Detections(self.boxes[index], self.scores[index], self.labels[index])

    def __iter__(self) -> Iterator[Detections]:
        return (self[place] for place in range(len(self)))

    def above(self, score: float) -> Detections:
        """Return those whose score is greater than `score`."""
        return self[self.scores > score]

    def to(self, device: torch.device | str) -> Detections:
        """Return the detections on `device`."""
        return Detections(self.boxes.to(device), self.scores.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images made ready for the network, and how to get back to their pixels.

    Attributes:
        tensor: (N, 3, H, W) float, normalised and padded to a common size.
        sizes: (height, width) of each image after resizing, without padding.
        padded: (height, width) that each image alone is padded to; no larger than the batch.
        original: (height, width) of each image before resizing.
        targets: one per image in the frame of the batch, no box without area; None when the batch is for inference.
        names: one per image, for messages; may be empty.
        origins: (y, x) of the corner of each image in its frame; by default (0, 0), all padding is right and below.
    """

    tensor: Tensor
    sizes: tuple[Size, ...]
    padded: tuple[Size, ...]
    original: tuple[Size, ...]
    targets: tuple[Targets, ...] | None = None
    names: tuple[str, ...] = ()
    origins: tuple[Size, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.tensor)
        if not self.origins:
            object.__setattr__(self, "origins", ((0, 0),) * count)
        for name in ("sizes", "padded", "original", "targets", "origins"):
            values = getattr(self, name)
            if values is not None and len(values) != count:
                raise InputError(f"a batch of {count} images with {len(values)} {name}")

    def __len__(self) -> int:
        return len(self.tensor)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ImageBatch:
        """Return the batch on `device`."""
        targets = self.targets and tuple(t.to(device, non_blocking) for t in self.targets)
        return replace(self, tensor=self.tensor.to(device, non_blocking=non_blocking), targets=targets)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which prior answers for which target: pairs, and the priors that answer for nothing.

    A prior in no pair and not ignored is background. A prior may stand in several pairs (YOLO), or each target in one.

    Attributes:
        priors: (P,) int64, the prior of each pair.
        targets: (P,) int64, the target of each pair.
        ignored: (A,) bool over all priors: neither object nor background.
    """

    priors: Tensor
    targets: Tensor
    ignored: Tensor

    def __post_init__(self) -> None:
        _check_rows("priors", self.priors, len(self.priors), "int64")
        _check_rows("targets", self.targets, len(self.priors), "int64")
        if self.ignored.ndim != 1 or self.ignored.dtype != torch.bool:
            raise InputError(f"ignored must be bool of shape (A,), not {self.ignored.dtype} of {tuple(self.ignored.shape)}")

    def background(self) -> Tensor:
        """Return the indices (B,) of the priors that are background, ascending."""
        free = ~self.ignored
        free[self.priors] = False
        return free.nonzero().squeeze(1)

    def shifted(self, inside: Tensor, count: int) -> Assignment:
        """Return the assignment over `count` priors, where prior k of this one is ``inside[k]``; the others are ignored."""
        ignored = torch.ones(count, dtype=torch.bool, device=self.ignored.device)
        ignored[inside] = self.ignored
        return Assignment(inside[self.priors], self.targets, ignored)

    def with_targets_first(self, count: int) -> Assignment:
        """Return the assignment with `count` more priors put before the others: the targets themselves, each its own."""
        own = torch.arange(count, device=self.priors.device)
        known = torch.zeros(count, dtype=torch.bool, device=self.ignored.device)
        return Assignment(
            torch.cat([own, self.priors + count]),
            torch.cat([own, self.targets]),
            torch.cat([known, self.ignored]),
        )
