"""Ctrl-C at a moment that suits: at the end of the step that is under way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Put Ctrl-C off within the block; give a function that raises `KeyboardInterrupt` if it was pressed since.

    A second Ctrl-C raises at once. The workers of a loader, which get the signal as well, inherit this and go on.
    """
    owner, pressed = os.getpid(), False

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        if os.getpid() == owner:
            os.write(2, b"\nstopping after this step (Ctrl-C again: at once)\n")

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
