"""What the necks ask of the maps that they get."""

from __future__ import annotations

from itertools import pairwise

from zoo_core.errors import InputError
from zoo_core.types import Channels


def checked_strides(neck: str, channels: Channels) -> list[int]:
    """Return the strides, ascending; raise an `InputError` unless there are two or more, each twice the one before."""
    strides = sorted(channels)
    if len(strides) < 2 or any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        raise InputError(f"neck '{neck}' needs two or more maps, each of twice the stride before; the backbone has {strides}")
    return strides
