"""A folder to a data set, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo_core.data.format import DataFormat, chosen_split
from zoo_core.data.samples import DetectionData, Skipped
from zoo_core.errors import DataError, ZooError
from zoo_core.plugins import FOREIGN
from zoo_core.registry import Entry, entries, find
from zoo_core.specs import ComponentSpec, spec_class, validate


def open_data(
    path: str | Path,
    split: str,
    *,
    format: str | ComponentSpec | None = None,  # noqa: A002  the option's name everywhere
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
) -> DetectionData:
    """Return one split of the data set at `path`. Annotations are read and checked now, images later.

    Args:
        path: a folder, or "toy" for the embedded set of drawn scenes.
        split: its name, or the beginning of it where that is unique: "val" for "val2017".
        format: the name or the spec of a format; by default the one that recognises the folder.
        classes: the names that count, in the order of their labels; objects of others become ignore regions.
            By default all that the data has.
        skip_bad: leave out boxes and files that cannot be used, and count them in the result's `skipped`.

    Raises:
        DataError: nothing recognises the folder; no such split or class; a file that is missing or malformed.
        UnknownNameError: no such format.
        BrokenPluginError: the format that is named does not work. One that is not named keeps nobody from the others.
    """
    name, reader = _recognised(path) if format is None else _named(format)
    if not reader.recognises(path):
        raise DataError(f"no {name} data found here; the format looks for {reader.looks_for}", path)
    found = chosen_split(split, reader.splits(path), path)
    return reader.read(path, found, classes, Skipped(allowed=skip_bad))


def _named(format: str | ComponentSpec) -> tuple[str, DataFormat]:  # noqa: A002
    name = format if isinstance(format, str) else format.type
    entry = find("data_format", name)
    spec = validate(spec_class(entry), {}) if isinstance(format, str) else format
    return entry.contribution.name, entry.make(DataFormat, spec)  # type: ignore[type-abstract]


def _recognised(path: str | Path) -> tuple[str, DataFormat]:
    readers: dict[str, DataFormat] = {}
    found: dict[str, DataFormat] = {}
    failures: list[str] = []
    for entry in _formats():
        name = entry.qualified if entry.contribution.name in readers else entry.contribution.name
        try:
            readers[name] = reader = entry.make(DataFormat, validate(spec_class(entry), {}))  # type: ignore[type-abstract]
            if _recognises(entry, reader, path):
                found[name] = reader
        except ZooError as error:  # it keeps nobody from the others
            failures.append(f"{name} cannot be tried: {'; '.join(str(error).splitlines())}")
    if len(found) == 1:
        return found.popitem()
    if found:
        raise DataError(f"the folder can be read as {', '.join(found)}; say which with --format", path)
    told = "".join(f"\n  {failure}" for failure in failures)
    if not Path(path).exists():
        raise DataError(f"there is no such folder; 'toy' is the embedded data set{told}", path)
    expected = "".join(f"\n  {name}: {reader.looks_for}" for name, reader in readers.items())
    raise DataError(f"no data set found here. What the formats look for:{expected}{told}", path)


def _recognises(entry: Entry, reader: DataFormat, path: str | Path) -> bool:
    try:
        return bool(reader.recognises(path))
    except ZooError:
        raise
    except FOREIGN as error:
        raise entry.broken("fails in `recognises`", error) from error


def _formats() -> list[Entry]:
    return [entry for entry in entries() if entry.contribution.kind == "data_format"]
