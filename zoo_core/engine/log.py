"""A log that a program can read: one JSON object per line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo_core.errors import CheckpointError

LOG = "log.jsonl"


class Log:
    """Appends records to ``log.jsonl``. On resuming, the lines beyond the checkpoint's step are dropped: they come again."""

    def __init__(self, out: Path, start: int) -> None:
        self.path = out / LOG
        lines = self._lines()
        if lines and _step(lines[0]) == float("inf"):
            raise CheckpointError(f"{self.path} is not the log of a training; give another --out")
        kept = [line for line in lines if start and _step(line) <= start]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(kept), encoding="utf-8")
        temporary.replace(self.path)

    def _lines(self) -> list[str]:
        if not self.path.is_file():
            return []
        return self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)

    def write(self, **record: Any) -> None:
        """Append a record."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
