"""What may come out of a part: feature maps, losses, detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_core.interfaces import BACKGROUND, SHARED
from zoo_core.testing.contract import Contract
from zoo_core.types import Channels, Detections, Features, Size


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested mappings, sequences and dataclasses, in order."""
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in tensors(item)] if isinstance(value, list | tuple) else []


def equal(first: Any, second: Any) -> bool:
    """Return whether two results hold the same tensors, number by number; NaN counts as equal to NaN."""
    one, two = tensors(first), tensors(second)
    return len(one) == len(two) and all(_same(a, b) for a, b in zip(one, two, strict=True))


def _same(first: Tensor, second: Tensor) -> bool:
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return bool(((first == second) | ((first != first) & (second != second))).all())


def check_channels(contract: Contract, channels: Channels) -> None:
    """Check the promise of widths by stride."""
    right = isinstance(channels, dict) and all(isinstance(n, int) and n > 0 for pair in channels.items() for n in pair)
    contract.demand(right and channels, f"`channels` must give a width for each stride, both whole numbers; it is {channels!r}")
    contract.demand(list(channels) == sorted(channels), f"the strides of `channels` must ascend; they are {list(channels)}")


def check_features(contract: Contract, found: Features, channels: Channels, count: int, frame: Size) -> None:
    """Check maps (N, C, H / stride, W / stride) against the promised widths."""
    contract.demand(isinstance(found, dict), f"feature maps are a dict by stride, not a {type(found).__name__}")
    contract.demand(list(found) == list(channels), f"maps of strides {list(found)}; `channels` promises {list(channels)}")
    for stride, width in channels.items():
        shape = tuple(found[stride].shape)
        contract.demand(len(shape) == 4 and shape[0] == count, f"the map of stride {stride} is {shape}, not (N, C, H, W)")
        contract.demand(shape[1] == width, f"the map of stride {stride} has {shape[1]} channels; `channels` promises {width}")
        fits = all(abs(side - whole / stride) < 1 for side, whole in zip(shape[2:], frame, strict=True))
        contract.demand(fits, f"the map of stride {stride} is {shape[2:]} for images of {frame}")
        contract.demand(found[stride].isfinite().all(), f"the map of stride {stride} is not finite")


def check_losses(contract: Contract, losses: Any) -> Tensor:
    """Check losses, and return their sum."""
    contract.demand(isinstance(losses, dict) and losses, f"losses are a dict of scalars by name, not {losses!r}")
    for name, value in losses.items():
        contract.demand(isinstance(name, str), f"a loss is named by a string, not by {name!r}")
        scalar = isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point()
        contract.demand(scalar, f"loss '{name}' must be a tensor of one float, not {value!r}")
        contract.demand(value.isfinite(), f"loss '{name}' is {value.item()}; losses must be finite")
    return torch.stack([value.float() for value in losses.values()]).sum()


def check_class_rows(contract: Contract, head: Any, num_classes: int) -> None:
    """Check what a head says of the rows of its parameters."""
    parameters = dict(head.named_parameters())
    for name, rows in head.class_rows().items():
        contract.demand(name in parameters, f"`class_rows` names '{name}', which is no parameter")
        right = isinstance(rows, Tensor) and rows.dtype == torch.int64 and rows.shape == parameters[name].shape[:1]
        contract.demand(right, f"`class_rows` of '{name}' must be int64 of shape {tuple(parameters[name].shape[:1])}")
        inside = ((rows >= BACKGROUND) & (rows < num_classes)).all()
        contract.demand(
            inside,
            f"`class_rows` of '{name}' must hold classes 0 … {num_classes - 1}, "
            f"{SHARED} for shared rows or {BACKGROUND} for the background",
        )
        counts = {int((rows == label).sum()) for label in range(num_classes)}
        contract.demand(
            len(counts) == 1 and min(counts), f"`class_rows` of '{name}': each class needs as many rows as any other"
        )


def check_detections(contract: Contract, found: Any, num_classes: int, count: int = 2) -> None:
    """Check the detections of a batch of `count` images."""
    right = isinstance(found, Sequence) and all(isinstance(one, Detections) for one in found)
    contract.demand(right, f"detections are a list of Detections, not {type(found).__name__}")
    contract.demand(len(found) == count, f"detections of {len(found)} images for a batch of {count}")
    for one in found:
        contract.demand(not any(t.requires_grad for t in tensors(one)), "detections must carry no gradient")
        contract.demand(
            one.boxes.dtype == torch.float32, f"boxes must be float32, not {one.boxes.dtype}: pixels need the digits"
        )
        contract.demand(one.boxes.isfinite().all(), "boxes must be finite")
        contract.demand((one.boxes[:, :2] <= one.boxes[:, 2:]).all(), "boxes must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2")
        contract.demand(((one.scores >= 0) & (one.scores <= 1)).all(), "scores must lie in 0 … 1")
        contract.demand((one.scores[1:] <= one.scores[:-1]).all(), "detections must come best first")
        inside = ((one.labels >= 0) & (one.labels < num_classes)).all()
        contract.demand(inside, f"labels must lie in 0 … {num_classes - 1}, got {one.labels.unique().tolist()}")
