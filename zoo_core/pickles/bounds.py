"""How much a file can make its reader do, whatever is in it."""

from __future__ import annotations

from zoo_core.errors import CheckpointError

STEPS = 2_000_000


class Bounds:
    """Counts what one file costs. A *step* is an instruction (a few count for several) or an element that is copied; there are
    no more than `STEPS`.

    Args:
        size: of the pickle, in bytes.
        copies: how often bytes may be copied, all in all. An honest pickle needs each of its own once, or with arrays
            twice: it may have them as text, from which it makes bytes, and of these an array.
    """

    def __init__(self, size: int, copies: int = 1) -> None:
        self.size, self.left = size, copies * size
        self.steps = 0

    def spend(self, steps: int) -> None:
        """Count steps; raise `CheckpointError` when there are too many."""
        self.steps += steps
        if self.steps > STEPS:
            raise CheckpointError(f"takes more than {STEPS} steps to read; it was made to keep the reader busy")

    def copy(self, size: int) -> None:
        """Count bytes that are copied; raise `CheckpointError` when there are too many."""
        self.left -= size
        if self.left < 0:
            raise CheckpointError(f"makes more data of its {self.size} bytes than they are; it was made to fill the memory")
