"""Darknet's ``.weights`` files: a header, then the numbers of each convolution in the order of the ``.cfg``.

The header is three int32 (major, minor, revision) and how many images the training saw: int64 from version 0.2 on, int32
before. For each convolution follow, as little-endian float32: with a norm its bias, scale, mean and variance, else the
bias of the convolution; then the weights (out, in / groups, height, width).
"""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError
from zoo_yolo.darknet.order import units

VERSION = (0, 2, 5)
GREATEST = 1000
"""A version number from here on is no version: the file is another's."""
Values = NDArray[np.float32]


def read(path: str | Path, model: Detector, network: str = "the model") -> int:
    """Fill a detector with the weights of a file, and return how many images their training saw.

    The file is mapped, not loaded. Unless all of it is good the model stays as it is.

    Args:
        path: the file.
        model: a detector that `zoo_yolo.darknet.order.units` knows.
        network: what to call the network in messages, such as the name of its ``.cfg``.

    Raises:
        CheckpointError: no file of weights; values that are missing or left over, or cannot be right.
    """
    path = Path(path)
    tensors = _tensors(model)
    start, seen = check_size(path, sum(tensor.numel() for _, tensor in tensors), network)
    values: Values = np.memmap(path, dtype="<f4", mode="c", offset=start)
    ends = np.cumsum([tensor.numel() for _, tensor in tensors])[:-1]
    parts = np.split(values, ends)  # views
    for (name, _), part in zip(tensors, parts, strict=True):
        if not np.isfinite(part).all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite; nothing can be found with them")
        if name.endswith("variance") and part.min() < 0:
            raise CheckpointError(f"{path}: {name} holds values below zero; the file is damaged, or of another network")
    with torch.no_grad():
        for (_, tensor), part in zip(tensors, parts, strict=True):
            native = part.astype(np.float32, copy=False)
            tensor.copy_(torch.from_numpy(native).view(tensor.shape))
    return seen


def write(path: str | Path, model: Detector, seen: int = 0) -> None:
    """Write the weights of a detector as Darknet's version 0.2.5. An earlier file there is replaced as a whole, or stays.

    Args:
        path: the file.
        model: a detector that `zoo_yolo.darknet.order.units` knows.
        seen: how many images the training saw; Darknet goes on from there.

    Raises:
        CheckpointError: the file cannot be written.
    """
    path = Path(os.path.realpath(path))
    if not 0 <= seen < 1 << 63:
        raise CheckpointError(f"the number of images seen must lie in 0 … 2^63 - 1, got {seen}")
    tensors = [tensor for _, tensor in _tensors(model)]
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with fresh.open("xb") as file:
            file.write(struct.pack("<3iq", *VERSION, seen))
            for tensor in tensors:
                file.write(tensor.detach().float().cpu().contiguous().numpy().astype("<f4", copy=False).tobytes())
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}; what was there before is unchanged") from error
    finally:
        fresh.unlink(missing_ok=True)


def _tensors(model: Detector) -> list[tuple[str, Tensor]]:
    """Return what each number of a file stands for, in its order: a name for messages, and the model's tensor."""
    found: list[tuple[str, Tensor]] = []
    for number, unit in enumerate(units(model)):
        named: dict[str, Tensor | None] = {"bias": unit.conv.bias}
        if unit.norm is not None:
            statistics = {"mean": unit.norm.running_mean, "variance": unit.norm.running_var}
            named = {"bias": unit.norm.bias, "scale": unit.norm.weight, **statistics}
        named["weights"] = unit.conv.weight
        found += [(f"convolution {number}: {name}", tensor) for name, tensor in named.items() if tensor is not None]
    return found


def check_size(path: Path, needed: int, network: str) -> tuple[int, int]:
    """Return where the values begin and the images seen; raise unless there are as many values as a network needs."""
    start, seen = _header(path)
    count = count_values(path)
    if count != needed:
        off = f"{needed - count:,} are missing" if needed > count else f"{count - needed:,} are left over"
        raise CheckpointError(f"{path} holds {count:,} values, {network} needs {needed:,}: {off}")
    return start, seen


def count_values(path: Path) -> int:
    """Return how many numbers a file holds after its header; raise a `CheckpointError` if it is no file of weights."""
    start, _ = _header(path)
    count, rest = divmod(path.stat().st_size - start, 4)
    if rest:
        raise CheckpointError(f"{path} ends in the middle of a number: it is truncated, or no Darknet .weights file")
    return count


def _header(path: Path) -> tuple[int, int]:
    """Return where the values begin, in bytes, and how many images the training saw."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(head) < 16:
        raise CheckpointError(f"{path} has {len(head)} bytes: it is truncated, or no Darknet .weights file")
    major, minor, revision = struct.unpack_from("<3i", head)
    if not (0 <= major < GREATEST and 0 <= minor < GREATEST and revision >= 0):
        raise CheckpointError(f"{path} is no Darknet .weights file: it begins with {head[:12].hex(' ', 4)}")
    if 10 * major + minor < 2:
        return 16, int(struct.unpack_from("<i", head, 12)[0])
    if len(head) < 20:
        raise CheckpointError(f"{path} has {len(head)} bytes: it is truncated")
    return 20, int(struct.unpack_from("<q", head, 12)[0])
