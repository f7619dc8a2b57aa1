"""How far a long run is: a bar on a terminal, now and then a line elsewhere. Always on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from typing_extensions import Self

SECONDS = 10.0
"""Between two lines where there is no terminal."""


class Progress:
    """Shows progress while its ``with`` block lasts, unless it is to be `silent`."""

    def __init__(self, title: str, silent: bool = False) -> None:
        self.title = title
        self.silent = silent
        self._bar: Any = None
        self._last = 0.0

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self.silent:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(None),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}"),
                console=Console(stderr=True),
                redirect_stdout=False,  # what is printed goes where it was sent
                redirect_stderr=False,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, detail="", total=None)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, total: int, detail: str = "") -> None:
        """Say that `done` of `total` are done; `detail` is a few words more."""
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, detail=detail)
        elif not self.silent and (done == total or time.monotonic() - self._last >= SECONDS):
            self._last = time.monotonic()
            print(f"{self.title} {done}/{total}{'  ' + detail if detail else ''}", file=sys.stderr, flush=True)
