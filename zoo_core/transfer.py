"""The weights of a saved detector for another one: what fits is carried over, and nothing is left untold.

Rows that belong to a class (`DenseHead.class_rows`) follow the name of the class; all else follows the name of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo_core import hub
from zoo_core.build import numbered, plain
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError, nearest
from zoo_core.interfaces import BACKGROUND, SHARED
from zoo_core.provenance import Origin, Provenance, of_folder
from zoo_core.report import LoadReport
from zoo_core.specs import ComponentSpec
from zoo_core.tensor_file import opened


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
    with saved(folder) as source:
        return carry(model, source, class_map or {})


@dataclass(frozen=True)
class Source:
    """The weights of another detector.

    Attributes:
        path: where they are from.
        spec: of that detector.
        class_names: of its classes.
        class_rows: see `Detector.class_rows`.
        names: of its tensors.
        tensor: from a name to the tensor.
        remapped: by name, those that have another name or order in the file, and by what rule; see `LoadReport`.
        unexpected: what else is in the file.
        origin: what a detector with these weights began with; None if that is unknown.
    """

    path: Path
    spec: ComponentSpec
    class_names: Sequence[str]
    class_rows: Mapping[str, Tensor]
    names: AbstractSet[str]
    tensor: Callable[[str], Tensor]
    remapped: Mapping[str, str] = field(default_factory=dict)
    unexpected: Sequence[str] = ()
    origin: Origin | None = None


@contextmanager
def saved(folder: str | Path) -> Iterator[Source]:
    """Open the weights of a saved detector for a block; see `carry_over`."""
    folder = hub.locate(folder)
    config = hub.read_config(folder)
    shape = hub.unfilled(config, hub.spec_of(config, folder), folder)
    path = folder / hub.WEIGHTS
    with opened(path) as file:
        hub.check_fit(file, shape.state_dict(), path)
        names, origin = set(file.keys()), of_folder(folder)
        yield Source(path, shape.spec, shape.class_names, shape.class_rows(), names, file.get_tensor, origin=origin)


def imported(found: Detector, path: Path) -> Source:
    """Return the weights of a detector that an importer made: what its report says was in the file."""
    report, tensors = found.report, found.state_dict()
    fresh = set() if report is None else {*report.missing, *report.reinitialised}
    return Source(
        path,
        found.spec,
        found.class_names,
        found.class_rows(),
        tensors.keys() - fresh,
        tensors.__getitem__,
        {} if report is None else report.remapped,
        () if report is None else report.unexpected,
        None if found.provenance is None else found.provenance.origin,
    )


def carry(model: Detector, source: Source, class_map: Mapping[str, str]) -> LoadReport:
    """Copy into `model` what of a source fits it, and return what became of each tensor. See `carry_over`."""
    pairs = paired(source.class_names, model.class_names, class_map)
    theirs, ours = source.class_rows, model.class_rows()
    own = model.state_dict()
    report = LoadReport(settings=differing(source.spec, model.spec))
    report.missing.extend(name for name in own if name not in source.names)
    report.unexpected.extend([*sorted(source.names - own.keys()), *source.unexpected])
    by_class: dict[int, int | None] = {model.class_names.index(name): old for name, old in pairs.items()}
    for name, tensor in own.items():
        if name in source.names:
            given = hub.sound(source.tensor(name), tensor, name, source.path)
            if given.shape == tensor.shape and _of_another_make(theirs.get(name), ours.get(name)):
                report.reinitialised[name] = "its rows are of classes in another way than here"
                continue
            _take(tensor, given, name, _row_sources(theirs.get(name), ours.get(name), by_class), source, report)
    if of_classes := ours.keys() & source.names:
        fit = not of_classes & report.reinitialised.keys()
        report.classes.update({new: source.class_names[old] if fit and old is not None else None for new, old in pairs.items()})
        report.alike.update(_alike(source.class_names, pairs))
    if not any(own[name].ndim for name in [*report.loaded, *report.remapped]):
        told = LoadReport(missing=report.missing, unexpected=report.unexpected, reinitialised=report.reinitialised)
        raise CheckpointError(f"not one tensor of {source.path} fits this model: it is of another network\n{told}")
    model.report = report
    model.provenance = None if source.origin is None else Provenance(began=source.origin)
    return report


def _take(own: Tensor, given: Tensor, name: str, rows: Tensor | None, source: Source, report: LoadReport) -> None:
    """Copy a tensor, or the rows of it that `rows` gives for each of ours, and note what was done."""
    rule = source.remapped.get(name)
    if rows is None and given.shape == own.shape:
        own.copy_(given)
        if rule is None:
            report.loaded.append(name)
        else:
            report.remapped[name] = rule
    elif rows is None or given.shape[1:] != own.shape[1:]:
        report.reinitialised[name] = f"{tuple(given.shape)} in the file, {tuple(own.shape)} here"
    elif len(given) != len(source.class_rows[name]):
        due = f"{len(source.class_rows[name])} rows of its classes, found {len(given)}"
        raise CheckpointError(f"{source.path} does not fit its {hub.CONFIG}: {name} is due {due}")
    elif not (taken := rows >= 0).any():
        report.reinitialised[name] = "no class of the file is one of this model"
    else:
        own[taken.to(own.device)] = given[rows[taken]].to(own)
        by_name = f"{int(taken.sum())} of {len(rows)} rows by class"
        report.remapped[name] = by_name if rule is None else f"{rule}, {by_name}"


def _alike(there: Sequence[str], pairs: Mapping[str, int | None]) -> dict[str, str]:
    """Return the classes of the file that have almost the name of a new one, and that none goes on from; each once."""
    taken = {there[old] for old in pairs.values() if old is not None}
    free = {plain(name): name for name in reversed(there) if name not in taken}
    found = {new: free.pop(plain(new), new) for new, old in pairs.items() if old is None}
    return {new: name for new, name in found.items() if name != new}  # those that are equal are numbers, not names


def differing(theirs: ComponentSpec, ours: ComponentSpec) -> dict[str, str]:
    """Return how options differ, by their names; the number of classes left aside."""
    there, here = (dict(_leaves(spec.model_dump(mode="json"))) for spec in (theirs, ours))
    return {
        name: f"{there.get(name)} in the file, {here.get(name)} here"
        for name in dict.fromkeys([*here, *there])
        if name != "num_classes" and there.get(name) != here.get(name)
    }


def _leaves(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


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
    if theirs is None or ours is None or _of_another_make(theirs, ours):
        return None
    places: dict[tuple[int | None, int], int] = {key: row for row, key in enumerate(_numbered(theirs))}
    anything = any(label is not None for label in by_class.values())
    old = {**by_class, SHARED: SHARED, BACKGROUND: BACKGROUND if anything else None}
    sources = [places.get((old[label], number), -1) for label, number in _numbered(ours)]
    return None if sources == list(range(len(theirs))) else torch.tensor(sources)


def _of_another_make(theirs: Tensor | None, ours: Tensor | None) -> bool:
    """Say whether rows of two heads mean different things: more of them are of a class, or of none, or only one has such."""
    if theirs is None or ours is None:
        return theirs is not ours
    return _per_class(theirs) != _per_class(ours)


def _per_class(rows: Tensor) -> set[tuple[int, int]]:
    """Return how many rows a class has, and how many are of none."""
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
