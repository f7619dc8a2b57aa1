from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.plugins.yolo.darknet.samples import TINY_VALUES, random_weights, write_cfg
from zoo_core.build import build
from zoo_core.create import create
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError, ZooError
from zoo_core.importing import import_model
from zoo_yolo.darknet.importer import detector_spec
from zoo_yolo.darknet.network import read_network
from zoo_yolo.darknet.order import units
from zoo_yolo.darknet.weights import check_size, read, write


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    return write_cfg(tmp_path)


@pytest.fixture
def model(cfg: Path) -> Detector:
    return build(detector_spec(read_network(cfg)))


def file_of(folder: Path, values: np.ndarray, header: bytes | None = None) -> Path:
    path = folder / "some.weights"
    path.write_bytes((struct.pack("<3iq", 0, 2, 5, 64) if header is None else header) + values.astype("<f4").tobytes())
    return path


def test_units_are_in_the_order_of_the_file(model: Detector) -> None:
    found = [(unit.conv.out_channels, unit.norm is not None, unit.detects) for unit in units(model)]
    assert found == [(8, True, False), (8, True, False), (6, False, False), (14, False, True), (7, False, True)]
    assert sum(unit.values for unit in units(model)) == TINY_VALUES


def test_each_value_goes_to_its_place(tmp_path: Path, model: Detector) -> None:
    values = np.arange(TINY_VALUES, dtype=np.float32)
    assert read(file_of(tmp_path, values), model) == 64
    first, *_, last = units(model)
    assert first.norm is not None
    assert last.conv.bias is not None
    named = (first.norm.bias, first.norm.weight, first.norm.running_mean, first.norm.running_var)
    assert [part[0].item() for part in named if part is not None] == [0, 8, 16, 24]
    assert torch.equal(first.conv.weight.detach().flatten(), torch.arange(32.0, 32 + 216))
    assert last.conv.bias.tolist() == list(range(TINY_VALUES - 105, TINY_VALUES - 98))
    assert last.conv.weight.flatten()[-1].item() == TINY_VALUES - 1


def test_written_and_read_again(tmp_path: Path, cfg: Path, model: Detector) -> None:
    source = random_weights(cfg)
    assert read(source, model) == 64_000
    write(tmp_path / "copy.weights", model, 64_000)
    assert (tmp_path / "copy.weights").read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.weights", "net.cfg", "net.weights"]


@pytest.mark.shared
def test_a_real_file_survives(tmp_path: Path, shared: Path) -> None:
    source = shared / "data/weights/darknet/yolo-fastest-1.1.weights"
    model = import_model(source)
    write(tmp_path / "copy.weights", model, read(source, model))
    assert (tmp_path / "copy.weights").read_bytes() == source.read_bytes()


def test_the_old_header_has_a_short_count(tmp_path: Path, model: Detector) -> None:
    header = struct.pack("<4i", 0, 1, 0, 77)
    assert read(file_of(tmp_path, np.ones(TINY_VALUES), header), model) == 77
    assert float(units(model)[-1].conv.weight.detach().min()) == 1.0


@pytest.mark.parametrize(("count", "told"), [(-38, "38 are missing"), (1_200, "1,200 are left over")])
def test_values_that_are_missing_or_left_over(tmp_path: Path, model: Detector, count: int, told: str) -> None:
    path = file_of(tmp_path, np.ones(TINY_VALUES + count))
    with pytest.raises(CheckpointError) as caught:
        read(path, model, "net.cfg")
    assert str(caught.value) == f"{path} holds {TINY_VALUES + count:,} values, net.cfg needs {TINY_VALUES:,}: {told}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has 0 bytes: it is truncated, or no Darknet .weights file"),
        (b"\0" * 15, "has 15 bytes: it is truncated"),
        (struct.pack("<4i", 0, 2, 5, 0), "has 16 bytes: it is truncated"),
        (b"PK\3\4" + b"\0" * 40, "is no Darknet .weights file: it begins with 504b0304 00000000"),
        (struct.pack("<3iq", 0, 2, 5, 0) + b"\0" * 7, "ends in the middle of a number: it is truncated"),
    ],
)
def test_files_that_are_no_weights(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "some.weights"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"some.weights {told}"):
        check_size(path, 1, "net.cfg")


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (3, np.nan, "convolution 0: bias holds values that are not finite"),
        (TINY_VALUES - 1, np.inf, "convolution 4: weights holds values that are not finite"),
        (24, -0.5, "convolution 0: variance holds values below zero"),
    ],
)
def test_values_that_cannot_be_right_leave_the_model_as_it_was(
    tmp_path: Path, model: Detector, place: int, value: float, told: str
) -> None:
    values = np.ones(TINY_VALUES)
    values[place] = value
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"some.weights: {told}"):
        read(file_of(tmp_path, values), model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, model: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.weights"
    path.write_bytes(b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*out.weights: No space left on device; .* unchanged"):
        write(path, model)
    assert path.read_bytes() == b"before"
    assert {each.name for each in tmp_path.iterdir()} == {"out.weights", "net.cfg"}


def test_no_folder_and_no_count(tmp_path: Path, model: Detector) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write .*: No such file"):
        write(tmp_path / "none" / "out.weights", model)
    with pytest.raises(CheckpointError, match=r"images seen must lie in 0 … 2\^63 - 1, got -1"):
        write(tmp_path / "out.weights", model, -1)


def test_detectors_that_darknet_does_not_know() -> None:
    with torch.device("meta"):
        model = create("yolov5n")
    with pytest.raises(
        InputError, match="Darknet knows no order of the convolutions of a detector of C3Darknet, C3PAN, YoloHead"
    ):
        units(model)


def test_damaged_files_are_refused_or_read(tmp_path: Path, cfg: Path) -> None:
    good = random_weights(cfg).read_bytes()
    chance = np.random.default_rng(0)
    path = tmp_path / "net.weights"
    read_again = 0
    for _ in range(60):
        content = bytearray(good)
        for spot in chance.integers(0, len(content), 3):
            content[spot] ^= 1 << int(chance.integers(8))
        path.write_bytes(content[: len(content) if chance.random() < 0.7 else int(chance.integers(len(content)))])
        try:
            model = import_model(path)
            read_again += 1
        except ZooError:
            continue
        model.predict(torch.zeros(3, 20, 20, dtype=torch.uint8))
    assert 10 < read_again < 50
