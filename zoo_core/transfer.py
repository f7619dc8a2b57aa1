"""The weights of a saved detector for another one: what fits is carried over, and nothing is left untold.

Rows that belong to a class (`DenseHead.class_rows`) follow the name of the class; all else follows the name of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo_core import hub
from zoo_core.build import build, numbered, plain
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError, nearest
from zoo_core.interfaces import BACKGROUND, SHARED


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor of a file and of a model.

    Attributes:
        loaded: names of the tensors taken as they are.
        remapped: by name, those taken in part or in another order, and by what rule.
        reinitialised: by name, those that are in both but do not fit, and why; they are as the model was built.
        missing: names that only the model has; they are as the model was built.
        unexpected: names that only the file has; they are not used.
        classes: for each class of the model, that of the file whose rows it has; None for a new one.
        alike: for a new class, one of the file that differs from it but for case, spaces, "_" and "-", and was not mapped.
    """

    loaded: list[str] = field(default_factory=list)
    remapped: dict[str, str] = field(default_factory=dict)
    reinitialised: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    classes: dict[str, str | None] = field(default_factory=dict)
    alike: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, ready for ``json.dumps``."""
        return asdict(self)

    def __str__(self) -> str:
        """Return it as a few lines: counts, and the first names of what was not taken."""
        lines = [f"{len(self.loaded)} tensors taken as they are, {len(self.remapped)} class by class"]
        if self.remapped:
            pairs = [f"{new} from {old}" for new, old in self.classes.items() if old is not None]
            fresh = [new for new, old in self.classes.items() if old is None]
            lines += [f"classes: {_some(pairs)}"] if pairs else []
            lines += [f"new classes, freshly initialised: {_some(fresh)}"] if fresh else []
            pairs = [f"{old}={new}" for new, old in self.alike.items()]
            lines += [f"the file has classes of almost these names; to go on from them, map {','.join(pairs)}"] if pairs else []
        if self.reinitialised:
            told = [f"{name} ({why})" for name, why in self.reinitialised.items()]
            lines.append(f"freshly initialised, for they do not fit: {_some(told)}")
        lines += [f"freshly initialised, for the file has them not: {_some(self.missing)}"] if self.missing else []
        lines += [f"in the file and not used: {_some(self.unexpected)}"] if self.unexpected else []
        return "\n".join(lines)


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def carry_over(model: Detector, folder: str | Path, class_map: Mapping[str, str] | None = None) -> LoadReport:
    """Copy the weights of a saved detector into `model`, and return what became of each tensor.

    Args:
        model: changed in place; what is not carried over stays as it is.
        folder: what `zoo.save` or a training run wrote.
        class_map: classes of the saved detector under other names in `model`. Equal names need no entry.

    Raises:
        CheckpointError: nothing fits, or the folder holds no sound model; then `model` may have been changed in part.
        InputError: a map of classes that are not there, or of two to one.
    """
    folder = hub.locate(folder)
    config = hub.read_config(folder)
    with torch.device("meta"):  # its shape alone is looked at
        saved = build(hub.spec_of(config, folder), config.class_names)
    path = folder / hub.WEIGHTS
    with hub.opened(path) as file:
        source = Source(path, config.class_names, saved.class_rows(), set(file.keys()), file.get_tensor)
        return carry(model, source, class_map or {})


@dataclass(frozen=True)
class Source:
    """The weights of another detector.

    Attributes:
        path: where they are from.
        class_names: of its classes.
        class_rows: see `Detector.class_rows`.
        names: of its tensors.
        tensor: from a name to the tensor.
    """

    path: Path
    class_names: Sequence[str]
    class_rows: Mapping[str, Tensor]
    names: AbstractSet[str]
    tensor: Callable[[str], Tensor]


def carry(model: Detector, source: Source, class_map: Mapping[str, str]) -> LoadReport:
    """Copy into `model` what of a source fits it, and return what became of each tensor. See `carry_over`."""
    pairs = paired(source.class_names, model.class_names, class_map)
    report = LoadReport(classes={name: None if k is None else source.class_names[k] for name, k in pairs.items()})
    there = {plain(name): name for name in source.class_names}
    report.alike.update({name: there[plain(name)] for name, k in pairs.items() if k is None and plain(name) in there})
    theirs, ours = source.class_rows, model.class_rows()
    by_class: dict[int, int | None] = {model.class_names.index(name): old for name, old in pairs.items()}
    own = model.state_dict()
    report.missing.extend(name for name in own if name not in source.names)
    report.unexpected.extend(sorted(source.names - own.keys()))
    for name, tensor in own.items():
        if name not in source.names:
            continue
        given = hub.sound(source.tensor(name), tensor, name, source.path)
        rows = _row_sources(theirs.get(name), ours.get(name), by_class)
        if rows is None and given.shape == tensor.shape:
            tensor.copy_(given)
            report.loaded.append(name)
        elif rows is not None and given.shape[1:] == tensor.shape[1:]:
            if len(given) != len(theirs[name]):
                due = f"{len(theirs[name])} rows of its classes, found {len(given)}"
                raise CheckpointError(f"{source.path} does not fit its {hub.CONFIG}: {name} is due {due}")
            taken = rows >= 0
            if taken.any():
                tensor[taken.to(tensor.device)] = given[rows[taken]].to(tensor)
                report.remapped[name] = f"{int(taken.sum())} of {len(rows)} rows, by the names of the classes"
            else:
                report.reinitialised[name] = "no class of the file is one of this model"
        else:
            report.reinitialised[name] = f"{tuple(given.shape)} in the file, {tuple(tensor.shape)} here"
    if not any(own[name].ndim for name in report.loaded):  # every batch norm has a count, which fits any other
        report.loaded.clear()
        raise CheckpointError(f"not one tensor of {source.path} fits this model: it is of another network\n{report}")
    return report


def paired(there: Sequence[str], here: Sequence[str], class_map: Mapping[str, str]) -> dict[str, int | None]:
    """Return, for each class `here`, the label of the class `there` that it continues, or None.

    Classes without names, which have numbers instead, are the same if there are as many here as there, and else are not.

    Raises:
        InputError: an entry of `class_map` names a class that is not there or not here, or two name the same.
    """
    if not isinstance(class_map, Mapping) or not all(isinstance(name, str) for pair in class_map.items() for name in pair):
        raise InputError(f"a class map is a dict from names to names, such as {{'car': 'Car'}}, not {class_map!r}")
    nameless = [names for names in (there, here) if tuple(names) == numbered(len(names))]
    found: dict[str, int | None] = {name: there.index(name) if name in there and not nameless else None for name in here}
    if nameless and not class_map and len(there) == len(here):
        found = {name: label for label, name in enumerate(here)}
    taken: dict[str, str] = {}
    for old, new in class_map.items():
        if old not in there:
            raise InputError(f"class map {old}={new}: the saved model has no class '{old}'{nearest(old, there)}")
        if new not in here:
            raise InputError(f"class map {old}={new}: this model has no class '{new}'{nearest(new, here)}")
        if new in taken:
            raise InputError(f"class map: both '{taken[new]}' and '{old}' are to become '{new}'; choose one")
        taken[new] = old
        found[new] = list(there).index(old)
    return found


def _row_sources(theirs: Tensor | None, ours: Tensor | None, by_class: dict[int, int | None]) -> Tensor | None:
    """Return, for each of our rows, the row of the file that it takes, or -1; None where rows are not of classes.

    The m-th row of a class takes the m-th row of the class that it continues; rows shared by all likewise.
    """
    if theirs is None or ours is None or _per_class(theirs) != _per_class(ours):
        return None
    places: dict[tuple[int | None, int], int] = {key: row for row, key in enumerate(_numbered(theirs))}
    anything = any(label is not None for label in by_class.values())
    old = {**by_class, SHARED: SHARED, BACKGROUND: BACKGROUND if anything else None}
    sources = [places.get((old[label], number), -1) for label, number in _numbered(ours)]
    return None if sources == list(range(len(theirs))) else torch.tensor(sources)


def _per_class(rows: Tensor) -> set[tuple[int, int]]:
    """Return how many rows a class has, and how many are of none: heads that differ in these are of another make."""
    labels, counts = torch.unique(rows, return_counts=True)
    return {(min(label, 0), count) for label, count in zip(labels.tolist(), counts.tolist(), strict=True)}


def _numbered(rows: Tensor) -> list[tuple[int, int]]:
    """Return (class, how many rows of that class came before) for each row."""
    seen: dict[int, int] = {}
    found: list[tuple[int, int]] = []
    for label in rows.tolist():
        found.append((label, seen.get(label, 0)))
        seen[label] = seen.get(label, 0) + 1
    return found
