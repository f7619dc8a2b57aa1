"""What each kind of part promises. Learned parts are modules; rules are plain callables.

Check a part of your own with `zoo_core.testing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from zoo_core.report import LoadReport
from zoo_core.types import Assignment, Channels, Detections, Features, ImageBatch, Losses, Size, Targets

Raw = TypeVar("Raw")
"""A head's own form of its output; nobody else looks into it."""
SHARED = -1
"""In `class_rows`: a row that all classes share."""
BACKGROUND = -2
"""In `class_rows`: a row that is measured against those of classes, as by a softmax; without any it says nothing."""


class Backbone(nn.Module, ABC):
    """Images to feature maps. Built as ``Backbone(spec)``.

    Attributes:
        channels: number of channels by stride, ascending.
    """

    channels: Channels

    @abstractmethod
    def forward(self, images: Tensor) -> Features:
        """Return a map for each stride of `channels`; `images` is (N, 3, H, W), normalised."""

    def load_pretrained(self) -> LoadReport | None:
        """Load the weights that the spec asks for. Called once for a new detector, never for a saved one.

        Return what became of each tensor, by its name in the backbone; None where the spec asks for none.
        """
        return None


class Neck(nn.Module, ABC):
    """Feature maps to feature maps. Built as ``Neck(spec, channels)`` with the backbone's channels.

    Attributes:
        channels: number of channels of each map that it returns, by stride, ascending.
    """

    channels: Channels

    @abstractmethod
    def forward(self, features: Features) -> Features:
        """Return a map for each stride of `channels`."""


class DenseHead(nn.Module, ABC, Generic[Raw]):
    """Feature maps to detections at every place. Built as ``DenseHead(spec, channels, num_classes)``.

    A proposer of a two-stage detector is a dense head of one class; its detections are the proposals.
    """

    @abstractmethod
    def forward(self, features: Features) -> Raw:
        """Return the head's raw output."""

    @abstractmethod
    def losses(self, raw: Raw, batch: ImageBatch) -> Losses:
        """Return the losses against ``batch.targets``."""

    @abstractmethod
    def decode(self, raw: Raw, batch: ImageBatch) -> list[Detections]:
        """Return the detections of each image in the frame of the batch, best first, without gradient."""

    def class_rows(self) -> dict[str, Tensor]:
        """Return the class that each row of the first axis of a parameter answers for, by the parameter's name.

        Each value is int64 (rows,): 0 … K-1, `SHARED` for a row of all classes, or `BACKGROUND`. Parameters that are not
        named do not depend on the classes. With it, rows are carried over by class name to a head for other classes.
        """
        return {}


class RoIHead(nn.Module, ABC):
    """Proposals to detections. Built as ``RoIHead(spec, channels, num_classes)``."""

    @abstractmethod
    def losses(self, features: Features, proposals: Sequence[Detections], batch: ImageBatch) -> Losses:
        """Return the losses against ``batch.targets``."""

    @abstractmethod
    def detect(self, features: Features, proposals: Sequence[Detections], batch: ImageBatch) -> list[Detections]:
        """Return the detections of each image in the frame of the batch, best first."""

    def class_rows(self) -> dict[str, Tensor]:
        """Return the class that each row of a parameter answers for, as `DenseHead.class_rows` does."""
        return {}


@runtime_checkable
class Assigner(Protocol):
    """A rule that says which prior answers for which target. Built as ``Assigner(spec)``."""

    def __call__(
        self, priors: Tensor, targets: Targets, predictions: Detections | None = None, strides: Tensor | None = None
    ) -> Assignment:
        """Match `priors` (A, 4) with the targets of one image.

        Rules that learn look at the predictions as well; rules about cells or levels at `strides` (A,), the stride of the
        map that each prior stands on.
        """
        ...


@runtime_checkable
class Sampler(Protocol):
    """A rule that says which of the matched priors are trained on. Built as ``Sampler(spec)``."""

    def __call__(self, assignment: Assignment, generator: torch.Generator | None = None) -> Assignment:
        """Return the assignment with the priors left out marked as ignored."""
        ...


@runtime_checkable
class Preprocess(Protocol):
    """Images as they are to a batch for the network, and detections back. Built as ``Preprocess(spec)``.

    It holds no tensors, so that it can be sent to the workers of a data loader.
    """

    @property
    def frame(self) -> Size:
        """The (height, width) that an image is fitted into."""
        ...

    def __call__(
        self, images: Sequence[Tensor], targets: Sequence[Targets] | None = None, names: Sequence[str] = ()
    ) -> ImageBatch:
        """Return the batch; each image is uint8 RGB (3, H, W)."""
        ...

    def restore(self, detections: Sequence[Detections], batch: ImageBatch) -> list[Detections]:
        """Return the detections in the pixels of the original images."""
        ...
