"""Plain pickles with arrays of NumPy: what is read, what is refused, and that nothing is run or grows."""

from __future__ import annotations

import gc
import pickle
import random
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoo_core.errors import CheckpointError
from zoo_core.pickles.bounds import STEPS
from zoo_core.pickles.plain import read_pickle

PROTOCOLS = [2, 3, 4, 5]
PROTO = b"\x80\x02"


def nothing(name: str) -> bool:
    return False


@contextmanager
def traced() -> Iterator[list[int]]:
    """Give a list to a block that will hold the memory that Python has more after it, and at most had during it, in bytes."""
    found: list[int] = []
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield found
        found.extend(tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that writes bytes to a file, and reads it."""

    def run(content: bytes) -> Any:
        path = tmp_path / "x.pkl"
        path.write_bytes(content)
        return read_pickle(path, nothing)

    return run


def arrays() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    floats = generator.normal(size=(2, 3, 4))
    return {
        **{f"f{size}": floats.astype(f"f{size}") for size in (2, 4, 8)},
        **{f"{kind}{size}": (floats * 50).astype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)},
        "b": floats > 0,
        "of no dimension": np.array(1.5),
        "empty": np.empty((0, 4), "f4"),
        "fortran": np.asfortranarray(floats),
        "transposed": floats.transpose(1, 0, 2),
        "strided": floats[:, ::2],
        "reversed": floats[:, ::-1],
        "not to be written": np.frombuffer(floats.tobytes()),
    }


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_come_back_as_tensors(read, protocol) -> None:
    content = {"model": arrays(), "__author__": "Detectron2 Model Zoo"}
    found = read(pickle.dumps(content, protocol))
    assert list(found["model"]) == list(content["model"])
    assert found["__author__"] == content["__author__"]
    for name, expected in content["model"].items():  # type: ignore[attr-defined]
        tensor = found["model"][name]
        assert tensor.dtype == torch.from_numpy(np.empty(0, expected.dtype)).dtype, name
        assert tensor.shape == expected.shape, name
        assert np.array_equal(tensor.numpy(), expected), name
        tensor.zero_()  # belongs to the reader: no other tensor changes
    assert read(pickle.dumps(content, protocol))["model"]["f4"].any()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_array_that_stands_twice_is_one_tensor(read, protocol) -> None:
    array = np.arange(3.0)
    found = read(pickle.dumps([array, {"again": array}, (array,)], protocol))
    assert found[0] is found[1]["again"] is found[2][0]
    assert found[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numbers_of_numpy_are_those_of_python(read, protocol) -> None:
    found = read(pickle.dumps([np.float32(0.5), np.int64(7), np.bool_(True)], protocol))
    assert found == [0.5, 7, True]
    assert [type(value) for value in found] == [float, int, bool]


def test_the_names_of_older_numpys(read) -> None:
    content = pickle.dumps([np.arange(3.0), np.float64(2)], 2)
    old = content.replace(b"numpy._core.", b"numpy.core.")
    new = old.replace(b"numpy.core.", b"numpy._core.")
    for program in (old, new):
        array, number = read(program)
        assert (array.tolist(), number) == ([0, 1, 2], 2)


def test_the_pickles_of_python_2(read) -> None:
    """They have bytes as texts, raw."""
    values = struct.pack("<2f", -1.5, 3e7)
    dtype = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    found = read(PROTO + array + b"(K\x01K\x02\x85" + dtype + b"\x89U\x08" + values + b"tb.")
    assert found.tolist() == [-1.5, 3e7]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.array([None, "a"], dtype=object), "holds an array of 'O8'"),
        (np.array(["a"]), "holds an array of 'U1'"),
        (np.array([b"ab"]), "holds an array of 'S2'"),
        (np.zeros(1, "f4,i4"), "holds an array of 'V8'"),
        (np.zeros(1, "c8"), "holds an array of 'c8'"),
        (np.zeros(1, "M8[s]"), "holds an array of 'M8'"),
        (np.zeros(1, ">f4"), "holds an array with the big end first, which is not read"),
        (np.ma.masked_array([1.0]), "names 'numpy.ma"),
        (np.rec.array([(1,)], dtype=[("a", "f4")]), "names 'numpy.rec"),
    ],
)
def test_arrays_that_no_tensor_is(read, protocol, array, why) -> None:
    with pytest.raises(CheckpointError, match=rf"x\.pkl {why}"):
        read(pickle.dumps({"a": array}, protocol))


class Evil:
    """Creates a file where the standard machine reads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_that_names_os_system_is_refused_and_nothing_runs(tmp_path, read, protocol) -> None:
    marker = tmp_path / "marker"
    program = pickle.dumps({"model": {"a": np.ones(1)}, "b": Evil(marker)}, protocol)
    with pytest.raises(CheckpointError, match=r"names 'posix\.system', which is neither tensor nor plain data; nothing of it"):
        read(program)
    assert not marker.exists()
    pickle.loads(program)
    assert marker.exists(), "the file would have done no harm: the test shows nothing"


def test_an_object_that_claims_to_be_an_array(read) -> None:
    array = pickle.dumps(np.arange(2.0), 2)
    program = array.replace(b"cnumpy\nndarray", b"cposix\nsystem\n"[:-1])
    with pytest.raises(CheckpointError, match=r"names 'posix\.system'"):
        read(program)
    found = read(array.replace(b"cnumpy\nndarray", b"cbuiltins\nint"))
    assert found.name.endswith("_reconstruct")  # a record, of which nothing was made


FROM_BUFFER = b"cnumpy.core.numeric\n_frombuffer\n"
F4 = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
C = b"X\x01\x00\x00\x00C"


def array_of(shape: bytes, data: bytes = b"C\x08" + bytes(8), dtype: bytes = F4, rest: bytes = C) -> bytes:
    return FROM_BUFFER + b"(" + data + dtype + shape + rest + b"tR"


def test_the_program_of_an_array_is_right(read) -> None:
    assert read(PROTO + array_of(b"K\x02\x85") + b".").tolist() == [0, 0]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (array_of(b"K\x03\x85"), r"an array of size \[3\] with 2 elements"),
        (array_of(b"K\x01\x85"), r"an array of size \[1\] with 2 elements"),
        (array_of(b"K\x02\x85", b"C\x07" + bytes(7)), "damaged"),
        (array_of(b"J\xff\xff\xff\xff\x85"), "no natural number"),
        (array_of(b"\x8a\x09" + bytes(8) + b"\x01\x85"), "no natural number"),
        (array_of(b"K\x02"), "a int where a list is due"),
        (array_of(b"(" + b"K\x01" * 17 + b"t"), "more than 16 dimensions"),
        (array_of(b"K\x02\x85", b"N"), "an array without its bytes"),
        (array_of(b"K\x02\x85", b"X\x04\x00\x00\x00\xf0\x9f\x98\x80"), "damaged"),  # no Latin-1
        (array_of(b"K\x02\x85", dtype=b"N"), "an array without a type"),
        (array_of(b"K\x02\x85", dtype=b"cnumpy\ndtype\n)R"), "an array without a type"),
        (array_of(b"K\x02\x85", rest=b"N"), "an order of its own"),
        (array_of(b"K\x02\x85", rest=b"X\x01\x00\x00\x00KK\x05\x85"), "damaged"),
        (b"]Q", "refers to memory outside of it, which a plain pickle does not"),
        (b"B\xff\xff\xff\xffab", "damaged or cut short"),
        (b"\x8e" + struct.pack("<Q", 2**62) + b"ab", "damaged or cut short"),
        (b"\x8e" + struct.pack("<Q", 2**40) + b"ab", "damaged or cut short"),
        (b"\x96" + struct.pack("<Q", 2**40) + b"ab", "damaged or cut short"),
        (b"I" + b"9" * 100_000 + b"\n", "damaged or cut short"),
    ],
)
def test_a_program_that_is_not_right(read, program, why) -> None:
    with traced() as memory, pytest.raises(CheckpointError, match=rf"x\.pkl .*{why}"):
        read(PROTO + program + b".")
    assert memory[1] < 2**22


MEGABYTE = b"a" * 2**20
ENCODED = b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR"
TWICE = array_of(b"J\x00\x00\x04\x00\x85", b"h\x00", b"h\x01")
BOMBS = {
    "arrays of the same bytes": b"B\x00\x00\x10\x00" + MEGABYTE + b"q\x000" + F4 + b"q\x010" + TWICE * 1000,
    "copies of a text": b"X\x00\x00\x10\x00" + MEGABYTE + b"q\x000" + ENCODED * 1000,
    "a text with a wide letter": b"X\x04\x00\x10\x00" + MEGABYTE + b"\xf0\x9f\x98\x80q\x000" + ENCODED,
    "steps": b"N0" * (STEPS // 2 + 1),
}


@pytest.mark.parametrize("name", [name for name in BOMBS if name != "steps"])
def test_a_file_that_would_grow_is_refused(tmp_path, name) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(PROTO + BOMBS[name] + b".")
    started = time.perf_counter()
    with traced() as memory, pytest.raises(CheckpointError):
        read_pickle(path, nothing)
    assert memory[1] < 6.1 * path.stat().st_size
    assert time.perf_counter() - started < 10


@pytest.mark.slow
def test_a_file_of_too_many_steps_is_refused(read) -> None:
    with pytest.raises(CheckpointError, match=f"takes more than {STEPS} steps to read"):
        read(PROTO + BOMBS["steps"] + b".")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_large_file_takes_little_memory(tmp_path, protocol) -> None:
    """Larger than the limit of pickles whose tensors lie beside them. Less than thrice its size, and once when it is read."""
    generator = np.random.default_rng(0)
    content = {"model": {str(k): generator.normal(size=2**17).astype("f4") for k in range(40)}}
    path = tmp_path / "large.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    held, size = 40 * 2**19, path.stat().st_size
    assert size > 16 * 2**20
    with traced() as memory:
        found = read_pickle(path, nothing)
    current, peak = memory
    assert np.array_equal(found["model"]["39"].numpy(), content["model"]["39"])
    assert peak < 2.3 * size
    assert held <= current < 1.05 * held


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"hello", "is no pickle of protocol 2 or later"),
        (pickle.dumps([1], 0), "is no pickle of protocol 2 or later"),
        (b"PK\x03\x04", "is a file of torch.save and no plain pickle; read_checkpoint reads it"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "is a file of torch.save and no plain pickle; read_checkpoint reads it"),
        (PROTO, "is damaged or cut short"),
    ],
)
def test_a_file_of_another_kind(read, content, why) -> None:
    with pytest.raises(CheckpointError, match=rf"x\.pkl {why}"):
        read(content)


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"x\.pkl cannot be read: No such file or directory"):
        read_pickle(tmp_path / "x.pkl", nothing)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_damaged_is_read_or_refused(read, protocol) -> None:
    program = pickle.dumps({"a": np.ones(30, "f4"), "b": [np.float64(1.5), {"c": np.zeros((2, 3))}], "d": "x"}, protocol)
    for length in range(0, len(program), 5):
        with pytest.raises(CheckpointError):
            read(program[:length])
    generator = random.Random(protocol)
    refused = 0
    for _ in range(300):
        damaged = bytearray(program)
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(2, len(damaged))
            damaged[place : place + generator.randint(0, 4)] = generator.randbytes(generator.randint(0, 4))
        try:
            read(bytes(damaged))
        except CheckpointError:
            refused += 1
    assert refused > 50
