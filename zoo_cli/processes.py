"""Which of several processes this is, when ``accelerate launch`` or ``torchrun`` has started them."""

from __future__ import annotations

import os


def count() -> int:
    """Return the number of processes that run together."""
    return max(_number("WORLD_SIZE", 1), 1)


def is_main() -> bool:
    """Say whether this process is the one that talks."""
    return count() == 1 or _number("RANK", 0) == 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
