"""Everything that the zoo raises on purpose.

::

    ZooError
    ├── UnknownNameError    nothing of that name is registered; the nearest names are given
    ├── AmbiguousNameError  two distributions offer the name; both are given
    ├── BrokenPluginError   the name belongs to a plugin that does not load; the cause is given
    ├── SpecError           options that do not fit; all of them at once
    ├── InputError          an argument of the caller: an image, targets, a path
    ├── DataError           a data set: a file, and where known a line of it
    ├── CheckpointError     a saved model: incomplete, foreign, or of another format
    │   └── HubError        the Hub: no such repository, no right to it, no network
    └── TrainingError       training cannot go on: a loss that is not finite, no images
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

LONGEST = 1_600
"""Letters that a message has at most: what a file says is often part of it."""


class ZooError(Exception):
    """Base of every error that the zoo raises on purpose. Its text says what is wrong, where, and what to do."""

    def __str__(self) -> str:
        return readable(super().__str__())


def readable(text: str) -> str:
    """Return a text that is safe to show and not too long: it may hold what a stranger wrote, and terminals obey."""
    return _shortened("".join(ascii(letter)[1:-1] if _obeyed(letter) else letter for letter in _shortened(text)))


def _shortened(text: str) -> str:
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} … ({len(text) - 2 * half:,} letters) … {text[-half:]}"


def _obeyed(letter: str) -> bool:
    """Say whether a letter is a command: a control character, half of another, or one that turns the direction."""
    return (
        letter != "\n" and unicodedata.category(letter) in ("Cc", "Cs")
    ) or letter in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


class UnknownNameError(ZooError):
    """Nothing of that name is registered."""


class AmbiguousNameError(ZooError):
    """Two distributions offer the same name."""


class BrokenPluginError(ZooError):
    """A plugin that is needed does not load."""


class SpecError(ZooError, ValueError):
    """Options that do not fit. `problems` holds (path, message) pairs, all that were found.

    A `ValueError` as well, so that pydantic carries it out of a spec within a spec.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{path}: {message}" if path else message for path, message in self.problems))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[tuple[str, str], ...]]]:
        return type(self), (self.problems,)


class InputError(ZooError):
    """An argument that cannot be used as it is."""


class DataError(ZooError):
    """A data set that cannot be read; names the file, and the line where there is one."""

    def __init__(self, message: str, path: Path | str | None = None, line: int | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.line = line
        where = "" if path is None else f"{path}, line {line}: " if line is not None else f"{path}: "
        super().__init__(where + message)


class CheckpointError(ZooError):
    """A saved model or training state that cannot be used."""


class HubError(CheckpointError):
    """The Hub does not give, or does not take, a model."""


class TrainingError(ZooError):
    """Training cannot go on."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the registered name most like `name`, or nothing when none is like it."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean '{matches[0]}'?" if matches else ""
