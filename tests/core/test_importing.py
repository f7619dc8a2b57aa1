"""Who reads a foreign file: how importers are asked, and what every other file is answered with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from zoo_core import hub, registry
from zoo_core.build import build
from zoo_core.contributions import Component
from zoo_core.create import create, with_classes
from zoo_core.detectors.detector import Detector
from zoo_core.errors import BrokenPluginError, CheckpointError, InputError
from zoo_core.importing import Importer, ImportRequest, import_model, load_weights
from zoo_core.provenance import Origin, Provenance
from zoo_core.recipes import resolve
from zoo_core.report import LoadReport
from zoo_core.specs import ComponentSpec

pytestmark = pytest.mark.usefixtures("stubs")
HERE = f"{__name__}"


class LinesSpec(ComponentSpec):
    type: str = "lines"


class Lines(Importer):
    """Reads files whose first line is LINES; what is asked of it is recorded."""

    looks_for: ClassVar[str] = "a file that begins with LINES"
    asked: ClassVar[list[ImportRequest]] = []

    def __init__(self, spec: LinesSpec) -> None:
        self.spec = spec

    def recognises(self, path: Path) -> bool:
        return path.read_bytes().startswith(b"LINES")

    def read(self, request: ImportRequest) -> Detector:
        self.asked.append(request)
        content = request.path.read_text()
        if "bad" in content:
            raise CheckpointError(f"{request.path} is bad")
        detector = build(resolve("plain_two_stage", {"num_classes": 2}), request.class_names)
        detector.recipe = request.recipe or "plain_two_stage"
        return detector.train()


class Greedy(Lines):
    looks_for: ClassVar[str] = "any file"

    def recognises(self, path: Path) -> bool:
        return True

    def read(self, request: ImportRequest) -> Detector:
        raise CheckpointError(f"{request.path} has no greed in it")


class Unbuilt(Lines):
    def __init__(self, spec: LinesSpec) -> None:
        raise RuntimeError("no luck")


class Nervous(Lines):
    def recognises(self, path: Path) -> bool:
        raise ZeroDivisionError("oh")


class Failing(Lines):
    def read(self, request: ImportRequest) -> Detector:
        raise KeyError("oh")


class Vague(Lines):
    def read(self, request: ImportRequest) -> Detector:
        return "a detector"  # type: ignore[return-value]


class NoImporter:
    def __init__(self, spec: LinesSpec) -> None:
        pass


def offered(*classes: type) -> list[Component]:
    return [Component("importer", cls.__name__.lower(), f"{HERE}:LinesSpec", f"{HERE}:{cls.__name__}") for cls in classes]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ImportRequest]]:
    monkeypatch.setattr(Lines, "asked", [])
    with registry.contributed(*offered(Lines)):
        yield Lines.asked


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.lines"
    path.write_text("LINES")
    return path


def test_the_importer_that_knows_the_file_reads_it(lines, file) -> None:
    found = import_model(str(file))
    assert isinstance(found, Detector)
    assert not found.training
    assert lines == [ImportRequest(file)]


def test_what_is_imported_says_from_which_file(lines, file) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert import_model(file).provenance == Provenance(began=Origin(kind="file", name="x.lines", sha256=digest))


def test_what_the_caller_says_is_handed_on(lines, file, tmp_path) -> None:
    cfg = tmp_path / "x.cfg"
    cfg.write_text("")
    found = import_model(file, cfg=cfg, recipe="mine", class_names=["a", "b"])
    assert (found.recipe, found.class_names) == ("mine", ("a", "b"))
    assert lines == [ImportRequest(file, cfg, "mine", ("a", "b"))]


def test_a_file_that_nobody_knows(lines, tmp_path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(CheckpointError) as caught:
        import_model(path)
    text = f"{path} is no file that can be imported. What the importers look for:\n  lines: a file that begins with LINES"
    assert str(caught.value) == text


def test_an_empty_file(lines, tmp_path) -> None:
    (tmp_path / "x.lines").touch()
    with pytest.raises(CheckpointError, match=r"x\.lines is empty$"):
        import_model(tmp_path / "x.lines")


def test_without_importers(file) -> None:
    with pytest.raises(CheckpointError, match=r"x\.lines: no importer is installed; 'zoo-cli plugins' shows what is"):
        import_model(file)


def test_a_file_that_is_not_there(lines, tmp_path, file) -> None:
    with pytest.raises(CheckpointError, match=r"y\.lines: no such file"):
        import_model(tmp_path / "y.lines")
    with pytest.raises(CheckpointError, match=r"y\.cfg: no such file"):
        import_model(file, cfg=tmp_path / "y.cfg")
    with pytest.raises(CheckpointError, match="7 is no file"):
        import_model(7)  # type: ignore[arg-type]


def test_a_folder(lines, tmp_path) -> None:
    with pytest.raises(CheckpointError, match="is a folder; give the file that is in it"):
        import_model(tmp_path)
    folder = hub.save(build(resolve("plain_two_stage")), tmp_path / "saved")
    with pytest.raises(CheckpointError, match=r"saved is a saved model already; zoo\.load opens it"):
        import_model(folder)


def test_what_is_no_regular_file(lines) -> None:
    with pytest.raises(CheckpointError, match="/dev/null: not a regular file"):
        import_model("/dev/null")


def test_class_names_are_checked_first(lines, file) -> None:
    with pytest.raises(InputError, match="class_names is a sequence of names"):
        import_model(file, class_names="ab")
    assert lines == []


def test_a_bad_file_is_told_of_by_its_importer(lines, file) -> None:
    file.write_text("LINES bad")
    with pytest.raises(CheckpointError) as caught:
        import_model(file)
    assert str(caught.value) == f"{file} is bad"


@pytest.mark.parametrize("order", [(Greedy, Lines), (Lines, Greedy)])
def test_of_several_that_know_the_file_the_one_that_can_reads_it(file, order) -> None:
    with registry.contributed(*offered(*order)):
        assert import_model(file).recipe == "plain_two_stage"
        file.write_text("LINES bad")
        with pytest.raises(CheckpointError) as caught:
            import_model(file)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{file} cannot be read:"
    assert sorted(rest) == ["  greedy: has no greed in it", "  lines: is bad"]


class Part(Greedy):
    partial: ClassVar[bool] = True

    def read(self, request: ImportRequest) -> Detector:
        if request.like is None and request.recipe is None:
            raise CheckpointError(f"{request.path} is a part")
        return build(request.like or resolve(str(request.recipe)))


def test_an_importer_of_parts_is_asked_last_and_when_it_is_known_of_what(file: Path) -> None:
    with registry.contributed(*offered(Part, Lines)):
        assert import_model(file, recipe="plain_one_stage").recipe == "plain_one_stage"  # by Lines
        file.write_text("LINES bad")
        assert import_model(file, recipe="plain_one_stage").recipe == ""  # by Part
        assert import_model(file, like=resolve("plain_two_stage")).spec == resolve("plain_two_stage")
        with pytest.raises(CheckpointError) as caught:
            import_model(file)
    assert str(caught.value) == f"{file} is bad\nIf it holds a backbone alone, say of which recipe: --recipe NAME"
    with registry.contributed(*offered(Part)), pytest.raises(CheckpointError, match=r"is a part$"):
        import_model(file)


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Unbuilt, "importer 'unbuilt' of local 0 cannot be built: RuntimeError: no luck"),
        (Nervous, "importer 'nervous' of local 0 fails in `recognises`: ZeroDivisionError: oh"),
        (NoImporter, "importer 'noimporter' of local 0 is a NoImporter, which is no Importer"),
    ],
)
def test_one_that_does_not_work_keeps_nobody_from_the_others(lines, file, cls, why) -> None:
    with registry.contributed(*offered(cls)):
        assert isinstance(import_model(file), Detector)
        file.write_text("other")
        with pytest.raises(CheckpointError) as caught:
            import_model(file)
    assert f"\n  {cls.__name__.lower()} cannot be tried: {why}" in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Failing, "importer 'failing' of local 0 fails in `read`: KeyError: 'oh'"),
        (Vague, "importer 'vague' of local 0 returns a str, which is no Detector"),
    ],
)
def test_one_that_fails_on_its_own_file_is_named(file, cls, why) -> None:
    with registry.contributed(*offered(cls)), pytest.raises(BrokenPluginError) as caught:
        import_model(file)
    assert str(caught.value) == why


def test_weights_of_a_file_for_another_model(lines, file) -> None:
    model = build(resolve("plain_two_stage", {"num_classes": 2}), ("a", "b"))
    report = load_weights(model, str(file))
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert report.classes == {"a": "class 0", "b": "class 1"}
    file.write_text("LINES bad")
    with pytest.raises(CheckpointError, match="is bad"):
        load_weights(model, file)


def test_weights_of_a_saved_model(lines, tmp_path) -> None:
    source = build(resolve("plain_two_stage", {"num_classes": 2}), ("a", "b"))
    folder = hub.save(source, tmp_path / "saved")
    model = build(resolve("plain_two_stage", {"num_classes": 2}), ("B", "a"))
    report = load_weights(model, folder, {"b": "B"})
    assert report.classes == {"B": "b", "a": "a"}
    assert lines == []
    assert model.state_dict()["roi_head.output.bias"][0] == source.state_dict()["roi_head.output.bias"][1]


def test_weights_that_cannot_be_loaded(lines, tmp_path) -> None:
    with pytest.raises(InputError, match="load_weights takes a detector, not a str"):
        load_weights("model", tmp_path)  # type: ignore[arg-type]
    model = build(resolve("plain_two_stage"))
    with pytest.raises(CheckpointError, match="x: no such folder"):
        load_weights(model, tmp_path / "x")
    with pytest.raises(CheckpointError, match="7 is no folder"):
        load_weights(model, 7)  # type: ignore[arg-type]


def test_what_an_importer_does_not_tell_of_was_loaded_as_it_is(lines, file) -> None:
    found = import_model(file)
    assert found.report == LoadReport(loaded=list(found.state_dict()))


def test_an_imported_detector_for_other_classes(lines, file) -> None:
    found = import_model(file, class_names=("cat", "dog"))
    model = with_classes(found, file, ("Hound", "cow"), {"dog": "Hound"})
    assert (model.class_names, model.recipe, model.training) == (("Hound", "cow"), "plain_two_stage", False)
    assert model.report
    assert model.report.classes == {"Hound": "dog", "cow": None}
    assert found.class_names == ("cat", "dog")
    with pytest.raises(InputError, match="2 classes are named 'cow'"):
        with_classes(found, file, ("cow", "cow"))


def test_a_detector_without_memory_is_not_said_to_be_loaded(tmp_path: Path) -> None:
    model = create("plain_one_stage", num_classes=2)
    folder = hub.save(model, tmp_path / "model")
    with pytest.raises(InputError, match="cannot fill a detector on the device 'meta'"):
        load_weights(model.to("meta"), folder)
