"""What a data format promises, and what all formats have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from zoo_core.data.samples import DetectionData, Skipped
from zoo_core.errors import DataError, nearest


class DataFormat(ABC):
    """A way in which data sets lie in folders. Built as ``DataFormat(spec)``; registered as kind "data_format".

    Attributes:
        looks_for: by what it knows a folder of its own, for messages.
    """

    looks_for: ClassVar[str]

    @abstractmethod
    def recognises(self, path: str | Path) -> bool:
        """Return whether `path` holds a data set of this format. Looks at names, does not read the data."""

    @abstractmethod
    def splits(self, path: str | Path) -> list[str]:
        """Return the names of the splits that are there."""

    @abstractmethod
    def read(self, path: str | Path, split: str, classes: Sequence[str] | None, skipped: Skipped) -> DetectionData:
        """Return one split, without loading its images.

        Args:
            path: what `recognises` said yes to.
            split: one of `splits`.
            classes: the names that count, in the order of their labels; None for all that the data has.
            skipped: what cannot be used is handed to its `note`, which raises or counts.

        Raises:
            DataError: a file that is missing or malformed; a class that the data lacks.
        """


def chosen_classes(classes: Sequence[str] | None, known: Iterable[str], path: str | Path) -> tuple[str, ...]:
    """Return `classes`, all of which must be `known`; or all known ones, in order."""
    known = tuple(known)
    if classes is None:
        if not known:
            raise DataError("there is no class: not one object is annotated; name the classes yourself (--classes)", path)
        return known
    if not classes:
        raise DataError("the list of classes is empty; name at least one, or leave it out to get all", path)
    for name in classes:
        if name not in known:
            raise DataError(f"no class '{name}' in this data{nearest(name, known)}; it has {', '.join(known)}", path)
    if len(set(classes)) < len(classes):
        raise DataError(f"a class is named twice: {', '.join(classes)}", path)
    return tuple(classes)


def chosen_split(split: str, splits: Sequence[str], path: str | Path) -> str:
    """Return `split`, or the only one of `splits` that begins with it, such as "val2017" for "val"."""
    if split in splits:
        return split
    longer = [name for name in splits if name.startswith(split)] if split else []
    if len(longer) == 1:
        return longer[0]
    if longer:
        raise DataError(f"split '{split}' may be any of {', '.join(longer)}; write one of them in full", path)
    raise DataError(f"no split '{split}'{nearest(split, splits)}; there {_are(splits)}", path)


def _are(splits: Sequence[str]) -> str:
    if not splits:
        return "is none"
    return f"{'is only' if len(splits) == 1 else 'are'} {', '.join(splits)}"
