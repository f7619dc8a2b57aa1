"""A file of another project to a detector, whatever its format. Nothing that is in the file is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from zoo_core import remote
from zoo_core.build import checked_names
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError, ZooError
from zoo_core.hub import CONFIG, steps
from zoo_core.plugins import FOREIGN
from zoo_core.provenance import Provenance, of_file
from zoo_core.registry import Entry, entries
from zoo_core.report import LoadReport
from zoo_core.specs import ComponentSpec, spec_class, validate
from zoo_core.transfer import Source, carry, imported, saved


@dataclass(frozen=True)
class ImportRequest:
    """What is to be imported.

    Attributes:
        path: the file; it exists.
        cfg: the description of the network, for formats whose weights lie apart from it; it exists where it is given.
        recipe: the recipe that the weights are for; None to find it from the file.
        class_names: one per class, in the order of the labels; None for those of the file, or numbers.
        like: the options of the detector that the weights will go into; None where there is none yet. For files that hold a
            part of a detector, such as a backbone; the others describe their network themselves.
    """

    path: Path
    cfg: Path | None = None
    recipe: str | None = None
    class_names: tuple[str, ...] | None = None
    like: ComponentSpec | None = None


class Importer(ABC):
    """A format of weights of another project. Built as ``Importer(spec)``; registered as kind "importer".

    Attributes:
        looks_for: by what it knows a file of its own, for messages.
        partial: whether its files hold a part of a detector, and no more. Such importers are asked last.
    """

    looks_for: ClassVar[str]
    partial: ClassVar[bool] = False

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Return whether the file may be of this format. Looks at the name and the first bytes alone."""

    @abstractmethod
    def read(self, request: ImportRequest) -> Detector:
        """Return the detector of a file that `recognises` said yes to, with ``detector.recipe`` set where one is known.

        ``detector.report`` says what the file has under other names (`LoadReport.remapped`), and what in it is not used
        (`LoadReport.unexpected`). What the file has not (`LoadReport.missing`) is freshly initialised, and goes nowhere else.

        Raises:
            CheckpointError: a file that is truncated, malformed or of another layout; what was found is named.
            ZooError: a recipe or class names that do not fit the file.
        """


def import_model(
    path: str | Path,
    *,
    cfg: str | Path | None = None,
    recipe: str | None = None,
    class_names: Sequence[str] | None = None,
    like: ComponentSpec | None = None,
) -> Detector:
    """Return the detector that is in a file of another project, in evaluation mode. Nothing in the file is run.

    What became of its tensors is in ``detector.report``.

    Args:
        path: a file that an installed importer recognises.
        cfg: the description of the network, where the weights lie apart from it; by default the importer looks beside them.
        recipe: the recipe that the weights are for; by default it is found from the file.
        class_names: one per class, in the order of the labels; by default those of the file.
        like: the options of the detector that the weights will go into, for files that hold a part of one and no more.

    Raises:
        CheckpointError: no such file; nothing recognises it; it is truncated, malformed or of a layout that is not read.
        UnknownNameError: no recipe of that name.
        InputError: class names that do not fit.
        BrokenPluginError: the importer of the file does not work. One that is not asked keeps nobody from the others.
    """
    request = ImportRequest(
        _file(path),
        None if cfg is None else _file(cfg),
        recipe,
        None if class_names is None else tuple(checked_names(class_names)),
        like,
    )
    return _first_that_reads(_recognised(request.path), request).eval()


def _first_that_reads(found: Sequence[tuple[Entry, Importer]], request: ImportRequest) -> Detector:
    """Return the detector of the first importer that can: several may know the name and the first bytes of a file."""
    asked = [pair for pair in found if not pair[1].partial or request.recipe or request.like] or found
    hint = "" if len(asked) == len(found) else "\nIf it holds a backbone alone, say of which recipe: --recipe NAME"
    failures = []
    for entry, importer in asked:
        try:
            return _read(entry, importer, request)
        except CheckpointError as error:  # noqa: PERF203
            if len(asked) == 1:
                raise CheckpointError(f"{error}{hint}") from error
            why = str(error).removeprefix(str(request.path)).removeprefix(":").strip()
            failures.append(f"\n  {entry.contribution.name}: {why}")
    raise CheckpointError(f"{request.path} cannot be read:{''.join(failures)}{hint}")


def load_weights(model: Detector, path: str | Path, class_map: Mapping[str, str] | None = None) -> LoadReport:
    """Copy into a detector what fits it of a saved one, or of a file of another project; return what became of each tensor.

    Args:
        model: changed in place, with any classes; what is not carried over stays as it is.
        path: the folder of a saved detector, ``"org/name"`` or ``"org/name@revision"`` on the Hub, or a file that an
            installed importer recognises.
        class_map: classes of the file under other names in `model`. Equal names need no entry. Where the file or the model
            has no names, all classes are carried over if they are as many, and else none.

    Raises:
        CheckpointError: nothing fits, or the file is not sound; then `model` may have been changed in part.
        HubError: no such repository or revision, no right to it, no network and nothing in the cache.
        InputError: a map of classes that are not there, or of two to one.

    Example:
        >>> report = zoo.load_weights(model, "faster_rcnn_r101_fpn_1x_coco.pth", {"car": "Car", "person": "Pedestrian"})
        >>> print(report)
    """
    if not isinstance(model, Detector):
        raise InputError(f"load_weights takes a detector, not a {type(model).__name__}")
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise InputError(
            "load_weights cannot fill a detector on the device 'meta': model.to_empty(device='cpu') gives it memory"
        )
    with source_of(path, model.spec) as source:
        return carry(model, source, class_map or {})


@contextmanager
def source_of(path: str | Path, like: ComponentSpec) -> Iterator[Source]:
    """Open weights for a block, wherever they are: a saved detector, one on the Hub, or a file of another project."""
    if isinstance(path, str | Path) and is_file(path):
        yield imported(import_model(path, like=like), _file(path))
    else:
        with saved(remote.located(path)) as source:
            yield source


def is_file(path: str | Path) -> bool:
    """Say whether there is such a file; what is no path at all is none."""
    try:
        return Path(path).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def _file(path: str | Path) -> Path:
    try:
        path = Path(path).expanduser()
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path!r} is no file: {error}") from error
    if path.is_dir():
        if (path / CONFIG).is_file() or steps(path):
            raise CheckpointError(f"{path} is a saved model already; zoo.load opens it")
        raise CheckpointError(f"{path} is a folder; give the file that is in it")
    if not path.is_file():
        raise CheckpointError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    return path


def _recognised(path: Path) -> list[tuple[Entry, Importer]]:
    """Return the importers that recognise a file; raise if there is none."""
    known: list[str] = []
    found: list[tuple[Entry, Importer]] = []
    failures: list[str] = []
    for entry in [entry for entry in entries() if entry.contribution.kind == "importer"]:
        name = entry.contribution.name
        try:
            importer = entry.make(Importer, validate(spec_class(entry), {}))  # type: ignore[type-abstract]
            known.append(f"\n  {name}: {importer.looks_for}")
            if _recognises(entry, importer, path):
                found.append((entry, importer))
        except ZooError as error:  # it keeps nobody from the others
            failures.append(f"\n  {name} cannot be tried: {'; '.join(str(error).splitlines())}")
    if found:
        return sorted(found, key=lambda pair: pair[1].partial)
    if not path.stat().st_size:
        raise CheckpointError(f"{path} is empty")
    if not known and not failures:
        raise CheckpointError(f"{path}: no importer is installed; 'zoo-cli plugins' shows what is")
    raise CheckpointError(f"{path} is no file that can be imported. What the importers look for:{''.join(known + failures)}")


def _recognises(entry: Entry, importer: Importer, path: Path) -> bool:
    try:
        return bool(importer.recognises(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except ZooError:
        raise
    except FOREIGN as error:
        raise entry.broken("fails in `recognises`", error) from error


def _read(entry: Entry, importer: Importer, request: ImportRequest) -> Detector:
    try:
        detector = importer.read(request)
    except OSError as error:
        raise CheckpointError(f"{request.path} cannot be read: {error.strerror or error}") from error
    except ZooError:
        raise
    except FOREIGN as error:
        raise entry.broken("fails in `read`", error) from error
    if isinstance(detector, Detector):
        detector.report = _whole(detector)
        detector.provenance = Provenance(began=of_file(request.path))
        return detector
    raise entry.broken(f"returns a {type(detector).__name__}, which is no Detector")


def _whole(detector: Detector) -> LoadReport:
    """Return the report of an importer, in which what it does not mention was loaded as it is."""
    report = detector.report or LoadReport()
    told = {*report.loaded, *report.remapped, *report.reinitialised, *report.missing}
    return replace(report, loaded=[*report.loaded, *(name for name in detector.state_dict() if name not in told)])
