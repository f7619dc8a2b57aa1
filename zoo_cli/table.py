"""Plain text for the terminal: aligned columns that fit the width."""

from __future__ import annotations

import shutil
from collections.abc import Sequence


def width() -> int:
    """Return the number of columns of the terminal; 80 when there is none."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def clip(text: str, columns: int) -> str:
    """Return `text` cut to `columns` characters, the last one then being an ellipsis."""
    return text if len(text) <= columns else text[: max(columns - 1, 0)].rstrip() + "…"


def plain(text: str) -> str:
    """Return foreign text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int | None = None) -> list[str]:
    """Return the lines of a table. The last column takes what is left of the width and is clipped to it."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header) - 1)]
    left = max((columns or width()) - sum(widths) - 2 * len(widths), 16)
    return [
        "  ".join([*(cell.ljust(n) for cell, n in zip(line, widths, strict=False)), clip(line[-1], left)]).rstrip()
        for line in lines
    ]
