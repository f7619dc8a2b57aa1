from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zoo_core.contributions import Component
from zoo_core.data.format import DataFormat
from zoo_core.data.open import open_data
from zoo_core.data.samples import DetectionData, Sample, SampleTable, Skipped
from zoo_core.data.specs import ToySpec
from zoo_core.errors import BrokenPluginError, DataError, SpecError, UnknownNameError
from zoo_core.registry import contributed, names
from zoo_core.specs import ComponentSpec
from zoo_core.types import Targets


class NeedySpec(ComponentSpec):
    """Options of which one has no default."""

    type: str = "broken"
    server: str


class Everything(DataFormat):
    """A format that takes any folder."""

    looks_for = "nothing at all"

    def __init__(self, spec: Any) -> None:
        self.spec = spec

    def recognises(self, path: str | Path) -> bool:
        return path != "toy"

    def splits(self, path: str | Path) -> list[str]:
        return ["train-a", "train-b", "val2017", "test"]

    def read(self, path: str | Path, split: str, classes: Sequence[str] | None, skipped: Skipped) -> DetectionData:
        samples = SampleTable([Sample(1, (2, 3), Targets())])
        return DetectionData(("one",), samples, (1,), str(path), split, "everything", skipped)


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = ModuleType("everything_format")
    monkeypatch.setattr(module, "Everything", Everything, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with contributed(Component("data_format", "everything", "zoo_core.data.specs:CocoSpec", "everything_format:Everything")):
        yield


class Failing(Everything):
    def recognises(self, path: str | Path) -> bool:
        raise RuntimeError("no such driver")


class Unbuilt(Everything):
    def __init__(self, spec: Any) -> None:
        raise SystemExit("no licence")


BROKEN = [
    ("nowhere:Spec", "nowhere:Format", "cannot be imported from nowhere:Spec: ModuleNotFoundError: No module named 'nowhere'"),
    ("zoo_core.data.specs:CocoSpec", "nowhere:Format", "cannot be imported from nowhere:Format: ModuleNotFoundError"),
    ("zoo_core.data.specs:CocoSpec", "strange:Failing", "fails in `recognises`: RuntimeError: no such driver"),
    ("zoo_core.data.specs:CocoSpec", "strange:Unbuilt", "cannot be built: SystemExit: no licence"),
    ("zoo_core.data.specs:CocoSpec", "builtins:str", "is a str, which is no DataFormat"),
    ("builtins:dict", "strange:Everything", "which is no subclass of ComponentSpec"),
]


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("strange")
    vars(module).update(Everything=Everything, Failing=Failing, Unbuilt=Unbuilt, NeedySpec=NeedySpec)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize(("spec", "target", "text"), BROKEN, ids=range(len(BROKEN)))
def test_a_format_that_is_broken_harms_nobody(spec: str, target: str, text: str, kitti: Path, tmp_path: Path) -> None:
    with contributed(Component("data_format", "broken", spec, target)):
        assert open_data("toy", "val").format == "toy"
        assert open_data(kitti, "train").format == "kitti"
        for folder, told in ((tmp_path, "no data set found here."), (tmp_path / "none", "there is no such folder")):
            with pytest.raises(DataError) as caught:
                open_data(folder, "train")
            assert str(caught.value).startswith(f"{folder}: {told}")
            assert "\n  broken cannot be tried: data_format 'broken' of local 0 " in str(caught.value)
            assert text in str(caught.value)
        if "recognises" not in text:
            with pytest.raises(BrokenPluginError, match="data_format 'broken' of local 0"):
                open_data("toy", "train", format="broken")


@pytest.mark.usefixtures("strange")
def test_a_format_with_options_that_must_be_given(tmp_path: Path, kitti: Path) -> None:
    with contributed(Component("data_format", "broken", "strange:NeedySpec", "strange:Everything")):
        assert open_data(kitti, "train").format == "kitti"
        with pytest.raises(DataError, match="\n  broken cannot be tried: server: is required"):
            open_data(tmp_path, "train")
        with pytest.raises(SpecError, match="server: is required"):
            open_data(tmp_path, "val", format="broken")
        assert open_data(tmp_path, "val", format=NeedySpec(server="here")).format == "everything"


def test_the_formats_are_registered() -> None:
    assert {"kitti", "coco", "toy"} <= set(names("data_format"))


def test_a_folder_that_nothing_recognises(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_data(tmp_path, "train")
    assert str(caught.value) == (
        f"{tmp_path}: no data set found here. What the formats look for:\n"
        "  kitti: training/image_2/ and training/label_2/; train.txt and val.txt list the images of a split\n"
        "  coco: annotations/instances_SPLIT.json with images in SPLIT/ or images/SPLIT/; or one COCO JSON beside its images\n"
        "  toy: the word toy in place of a folder"
    )
    with pytest.raises(DataError) as caught:
        open_data(tmp_path / "none", "train")
    assert str(caught.value) == f"{tmp_path / 'none'}: there is no such folder; 'toy' is the embedded data set"


def test_a_format_that_does_not_fit(kitti: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_data(kitti, "train", format="coco")
    assert str(caught.value).startswith(f"{kitti}: no coco data found here; the format looks for annotations/instances_SPLIT")
    with pytest.raises(UnknownNameError, match="no data format named 'kiti'; did you mean 'kitti'"):
        open_data(kitti, "train", format="kiti")


@pytest.mark.usefixtures("everything")
def test_two_formats_that_fit(kitti: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_data(kitti, "train")
    assert str(caught.value) == f"{kitti}: the folder can be read as kitti, everything; say which with --format"
    assert open_data(kitti, "train", format="kitti").format == "kitti"
    assert open_data(kitti, "val", format="everything").format == "everything"


@pytest.mark.usefixtures("everything")
def test_the_beginning_of_a_split(tmp_path: Path) -> None:
    assert open_data(tmp_path, "val").split == "val2017"
    with pytest.raises(DataError) as caught:
        open_data(tmp_path, "train")
    assert str(caught.value) == f"{tmp_path}: split 'train' may be any of train-a, train-b; write one of them in full"
    with pytest.raises(DataError) as caught:
        open_data(tmp_path, "")
    assert str(caught.value) == f"{tmp_path}: no split ''; there are train-a, train-b, val2017, test"


def test_a_spec_in_place_of_a_name() -> None:
    assert len(open_data("toy", "val", format=ToySpec(val=3))) == 3


def test_the_word_toy_is_not_the_folder_toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="there is no such folder"):
        open_data("./toy", "train")
