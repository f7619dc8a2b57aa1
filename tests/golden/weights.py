"""Weights and images that follow from names alone: the recipe of the reference data, so that it need not ship them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.golden.names import ours


def uniform(name: str, shape: Sequence[int], low: float, high: float, seed: int) -> Tensor:
    """Return random numbers that depend on `name` and `seed` alone."""
    state = np.random.RandomState((zlib.crc32(name.encode()) ^ seed) & 0xFFFFFFFF)
    return torch.from_numpy(state.uniform(low, high, size=tuple(shape)).astype(np.float32))


def weight(key: str, shape: Sequence[int], seed: int) -> Tensor:
    """Return an entry of a state dict by MMDetection's name for it."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    if key.endswith(("running_mean", "bias")):
        return uniform(key, shape, -0.1, 0.1, seed)
    if key.endswith("running_var"):
        return uniform(key, shape, 0.8, 1.2, seed)
    if len(shape) == 1:  # the factor of a normalisation; the last one of a block is small
        bounds = (0.2, 0.4) if re.search(r"(bn3|conv2\.bn)\.weight$", key) else (0.8, 1.2)
        return uniform(key, shape, *bounds, seed)
    bound = (6.0 / int(np.prod(shape[1:]))) ** 0.5
    return uniform(key, shape, -bound, bound, seed)


def overridden(value: Tensor, override: Mapping[str, Any]) -> Tensor:
    """Return an entry with the override of the record applied."""
    if "value" in override:
        return torch.tensor(override["value"], dtype=value.dtype).view_as(value)
    return value * float(np.float32(override.get("scale", 1.0)))


def fill(model: nn.Module, keys: Sequence[str], seed: int, overrides: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a detector the weights of the recipe; `keys` are MMDetection's names, which must be all that there are."""
    own = model.state_dict()
    model.load_state_dict({ours(k): overridden(weight(k, own[ours(k)].shape, seed), overrides.get(k, {})) for k in keys})


def image(shape: Sequence[int], seed: int, sizes: Sequence[Sequence[int]]) -> Tensor:
    """Return normalised images (N, 3, H, W): coarse squares and noise, zero outside each image's size."""
    count, channels, height, width = shape
    coarse = uniform("img.coarse", (count, channels, -(-height // 16), -(-width // 16)), -1.5, 1.5, seed)
    squares = coarse.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)[:, :, :height, :width]
    images = squares + uniform("img.noise", shape, -0.5, 0.5, seed)
    for row, (inner_height, inner_width) in zip(images, sizes, strict=True):
        row[:, inner_height:] = 0
        row[:, :, inner_width:] = 0
    return images
