"""What a program can read of a run: a log, one JSON object per line, and what became of the weights that it began with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo_core.errors import CheckpointError
from zoo_core.report import LoadReport

LOG = "log.jsonl"
REPORT = "load_report.json"


class Log:
    """Appends records to ``log.jsonl``. On resuming, the lines beyond the checkpoint's step are dropped: they come again.

    A run that starts anew writes the report of the weights that it begins with, too.
    """

    def __init__(self, out: Path, start: int, report: LoadReport | None = None) -> None:
        self.path = out / LOG
        lines = self._lines()
        if lines and _step(lines[0]) == float("inf"):
            raise CheckpointError(f"{self.path} is not the log of a training; give another --out")
        kept = [line for line in lines if start and _step(line) <= start]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(kept), encoding="utf-8")
        temporary.replace(self.path)
        if not start:
            write_report(out, report)

    def _lines(self) -> list[str]:
        if not self.path.is_file():
            return []
        return self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)

    def write(self, **record: Any) -> None:
        """Append a record."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def write_report(out: Path, report: LoadReport | None) -> None:
    """Write what became of each tensor of the weights that a run begins with; without any, no earlier run's is left there."""
    path = out / REPORT
    try:
        if report is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
