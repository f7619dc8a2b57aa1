"""Random boxes, targets and features for the tests of Faster R-CNN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_core.types import Detections, Features, ImageBatch, Size, Targets


def boxes(count: int, seed: int, *, side: float = 100.0, least: float = 1.0) -> Tensor:
    """Return boxes (N, 4) with corners in a square of `side`, their own sides at least `least`."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, 2, generator=generator) * side
    return torch.cat([corners.amin(dim=1), corners.amax(dim=1) + least], dim=1)


def targets(count: int, seed: int, *, classes: int = 3, side: float = 100.0) -> Targets:
    labels = torch.randint(0, classes, (count,), generator=torch.Generator().manual_seed(seed))
    return Targets(boxes(count, seed, side=side, least=8), labels)


def proposals(count: int, seed: int, *, side: float = 100.0) -> Detections:
    found = boxes(count, seed, side=side)
    return Detections(found, torch.linspace(1, 0, count), torch.zeros(count, dtype=torch.int64))


def features(strides: Sequence[int], size: Size, *, width: int, count: int = 1, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return {s: torch.randn(count, width, -(-size[0] // s), -(-size[1] // s), generator=generator) for s in strides}


def batch(sizes: Sequence[Size], frame: Size, given: Sequence[Targets] | None = None) -> ImageBatch:
    """Return a batch of black images of these sizes in a common frame."""
    padded = tuple((-(-h // 32) * 32, -(-w // 32) * 32) for h, w in sizes)
    tensor = torch.zeros(len(sizes), 3, *frame)
    return ImageBatch(tensor, tuple(sizes), padded, tuple(sizes), None if given is None else tuple(given))
