"""Foreign checkpoints: what is read, what is refused, and that nothing is ever run."""

from __future__ import annotations

import io
import pickle
import random
import struct
import time
import tracemalloc
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from zoo_core.errors import CheckpointError
from zoo_core.pickles.bounds import STEPS
from zoo_core.pickles.checkpoint import read_checkpoint
from zoo_core.pickles.records import Name, Record

PROTO = b"\x80\x02"
HEADER = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)


def nothing(name: str) -> bool:
    return False


def torch_only(name: str) -> bool:
    return name.startswith("torch.nn.modules.")


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., object]:
    """Return a function that writes a program of the pickle machine to a file of torch.save, and reads it."""

    def run(program: bytes, allowed: Callable[[str], bool] = nothing, **parts: bytes) -> object:
        path = tmp_path / "made.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", program)
            for key, content in parts.items():
                archive.writestr(f"archive/data/{key.removeprefix('_')}", content)
        return read_checkpoint(path, allowed)

    return run


def saved(path: Path, content: object, **options: bool) -> Path:
    torch.save(content, path, **options)
    return path


CONTENT = {
    "weights": OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.arange(6.0).reshape(2, 3).t()),
    "types": [torch.ones(3, dtype=t) for t in (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32)],
    "small": [torch.tensor([1, 0]).to(t) for t in (torch.int16, torch.int8, torch.uint8, torch.bool)],
    "empty": torch.empty(0, 4),
    "scalar": torch.tensor(7),
    "parameter": nn.Parameter(torch.ones(2)),
    "plain": [None, True, 1, -(2**40), 2**80, 1.5, "é", b"\x00\xff", (1, 2, 3, 4), {1, 2}, frozenset({"a"}), bytearray(b"x")],
    "size": torch.Size([1, 2]),
    "numpy": [np.float64(0.25), np.int64(7), np.float32(0.5), np.bool_(True)],
    "mappings": [defaultdict(list, a=1), Counter("aab")],
}


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_data_and_tensors_come_back(tmp_path, zipped) -> None:
    found = read_checkpoint(
        saved(tmp_path / "x.pt", CONTENT, _use_new_zipfile_serialization=zipped), lambda n: n.endswith("bytearray")
    )
    assert list(found) == list(CONTENT)
    for name, tensor in CONTENT["weights"].items():  # type: ignore[attr-defined]
        assert torch.equal(found["weights"][name], tensor)
    for kind in ("types", "small"):
        for tensor, expected in zip(found[kind], CONTENT[kind], strict=True):  # type: ignore[call-overload]
            assert tensor.dtype == expected.dtype
            assert torch.equal(tensor, expected)
    assert found["empty"].shape == (0, 4)
    assert found["scalar"].item() == 7
    assert type(found["parameter"]) is torch.Tensor
    assert found["plain"][:-1] == CONTENT["plain"][:-1]  # type: ignore[index]
    assert found["size"] == (1, 2)
    assert found["numpy"] == [0.25, 7, 0.5, True]
    assert [type(value) for value in found["numpy"]] == [float, int, float, bool]
    assert found["mappings"] == [{"a": 1}, {"a": 2, "b": 1}]


def test_views_of_one_storage_share_it(tmp_path) -> None:
    whole = torch.arange(10.0)
    found = read_checkpoint(saved(tmp_path / "x.pt", [whole, whole[2:4]]), nothing)
    assert found[0].untyped_storage().data_ptr() == found[1].untyped_storage().data_ptr()
    assert found[1].tolist() == [2, 3]


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_become_records(tmp_path, zipped) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm2d(3))
    path = saved(tmp_path / "x.pt", {"model": net, "class": nn.Linear}, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path, torch_only)
    model = found["model"]
    assert isinstance(model, Record)
    assert model.name == "torch.nn.modules.container.Sequential"
    linear = model["_modules"]["0"]
    assert repr(linear) == "Record('torch.nn.modules.linear.Linear')"
    assert torch.equal(linear["_parameters"]["weight"], net[0].weight)
    assert "in_features" in linear
    assert (linear["in_features"], linear.get("nothing", 5)) == (2, 5)
    with pytest.raises(KeyError):
        linear["nothing"]
    assert isinstance(found["class"], Name)
    assert found["class"].name == "torch.nn.modules.linear.Linear"


class Sub(dict):  # type: ignore[type-arg]
    pass


class SubList(list):  # type: ignore[type-arg]
    pass


def test_subclasses_of_containers_keep_their_content(tmp_path) -> None:
    path = saved(tmp_path / "x.pt", [Sub(a=1), SubList([1, 2])])
    found = read_checkpoint(path, lambda name: name.endswith(("Sub", "SubList")))
    assert [record.content for record in found] == [{"a": 1}, [1, 2]]


def test_what_is_allowed_is_asked_by_its_full_name(tmp_path) -> None:
    asked: list[str] = []

    def allowed(name: str) -> bool:
        asked.append(name)
        return False

    with pytest.raises(CheckpointError, match=r"x\.pt names 'torch\.nn\.modules\.linear\.Linear', which is neither tensor nor"):
        read_checkpoint(saved(tmp_path / "x.pt", nn.Linear(1, 1)), allowed)
    assert asked == ["torch.nn.modules.linear.Linear"]


class Evil:
    """Creates a file where the standard machine reads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_names_os_system_is_refused_and_nothing_runs(tmp_path, zipped) -> None:
    marker = tmp_path / "marker"
    path = saved(tmp_path / "evil.pt", {"a": torch.ones(1), "b": Evil(marker)}, _use_new_zipfile_serialization=zipped)
    expected = "names 'posix.system', which is neither tensor nor plain data; nothing of it was run"
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path, torch_only)
    assert str(caught.value) == f"{path} {expected}"
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the file would have done no harm: the test shows nothing"


SYSTEM = b"cposix\nsystem\n"
TEXT = b"X\x04\x00\x00\x00true"


@pytest.mark.parametrize(
    "program",
    [
        SYSTEM + TEXT + b"\x85R",
        b"X\x05\x00\x00\x00posixX\x06\x00\x00\x00system\x93" + TEXT + b"\x85R",
        b"(" + TEXT + b"iposix\nsystem\n",
        b"(" + SYSTEM + TEXT + b"o",
        SYSTEM + TEXT + b"\x85\x81",
        SYSTEM + TEXT + b"\x85}\x92",
        SYSTEM,
    ],
    ids=["REDUCE", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "GLOBAL"],
)
def test_every_way_to_name_a_function_is_refused(read, program) -> None:
    with pytest.raises(CheckpointError, match=r"names 'posix\.system', which is neither"):
        read(PROTO + program + b".")


@pytest.mark.parametrize(
    "name", ["builtins\ngetattr", "builtins\neval", "torch\nload", "torch.storage\n_load_from_bytes", "a\n\x1b[2J"]
)
def test_functions_that_look_harmless_are_refused(read, name) -> None:
    with pytest.raises(CheckpointError, match="is neither tensor nor plain data") as caught:
        read(PROTO + f"c{name}\n.".encode())
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("code", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"P1\n", b"\x97", b"]\x98"])
def test_extensions_and_buffers_are_refused(read, code) -> None:
    with pytest.raises(CheckpointError, match=r"made\.pt uses the pickle instruction"):
        read(PROTO + code + b".")


def integer(number: int) -> bytes:
    return pickle.dumps(number, 2)[2:-1]


def tensor(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, count: int = 4, key: str = "0") -> bytes:
    """Return a program that makes a tensor of a float storage."""
    text = b"X" + struct.pack("<I", 7) + b"storage"
    name = b"X" + struct.pack("<I", len(key)) + key.encode()
    storage = b"(" + text + b"ctorch\nFloatStorage\n" + name + b"X\x03\x00\x00\x00cpu" + integer(count) + b"tQ"
    numbers = [b"(" + b"".join(integer(n) for n in values) + b"t" for values in (size, stride)]
    rest = b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(offset) + b"".join(numbers) + rest + b"tR"


def test_the_program_of_a_tensor_is_right(read) -> None:
    content = struct.pack("<4f", 1, 2, 3, 4)
    assert read(PROTO + tensor((2, 2), (2, 1)) + b".", _0=content).tolist() == [[1, 2], [3, 4]]
    assert read(PROTO + tensor((3,), (1,), 1) + b".", _0=content).tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("size", "stride", "offset", "count", "why"),
    [
        ((5,), (1,), 0, 4, r"size \[5\] in a storage of 4 elements"),
        ((2**40,), (0,), 0, 4, "in a storage of 4 elements"),
        ((2,), (4,), 0, 4, "in a storage of 4 elements"),
        ((4,), (1,), 1, 4, "in a storage of 4 elements"),
        ((0,), (1,), 5, 4, "in a storage of 4 elements"),
        ((2,), (-1,), 3, 4, "no natural number"),
        ((-2,), (1,), 0, 4, "no natural number"),
        ((2,), (1,), -1, 4, "no natural number"),
        ((2**100,), (1,), 0, 4, "no natural number"),
        ((2, 2), (1,), 0, 4, "differ in length"),
        ((1,) * 17, (1,) * 17, 0, 4, "more than 16 dimensions"),
        ((4,), (1,), 0, 5, "has 16 bytes where 20 are due"),
        ((4,), (1,), 0, -4, "unknown type or size"),
        ((4,), (1,), 0, 2**60, "its tensors take more than its"),
    ],
)
def test_a_tensor_that_does_not_lie_in_its_storage(read, size, stride, offset, count, why) -> None:
    with pytest.raises(CheckpointError, match=why):
        read(PROTO + tensor(size, stride, offset, count) + b".", _0=bytes(16))


def test_a_storage_that_is_missing_or_of_two_sizes(read) -> None:
    with pytest.raises(CheckpointError, match="'data/0' is missing"):
        read(PROTO + tensor((4,), (1,)) + b".")
    with pytest.raises(CheckpointError, match=r"'data/\.\./\.\./etc/passwd' is missing"):
        read(PROTO + tensor((4,), (1,), key="../../etc/passwd") + b".")
    with pytest.raises(CheckpointError, match="a storage of two types or sizes"):
        read(PROTO + tensor((4,), (1,)) + tensor((2,), (1,), 0, 2) + b"\x86.", _0=bytes(16))


def long_of(bits: int) -> bytes:
    return pickle.dumps(1 << bits, 2)[2:-1]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (b"", "damaged or cut short"),
        (b"]", "damaged or cut short"),
        (b".", "damaged or cut short"),
        (b"0.", "damaged or cut short"),
        (b"h\x05.", "damaged or cut short"),
        (b"u.", "damaged or cut short"),
        (b"\xff.", "damaged or cut short"),
        (b"X\xff\xff\xff\x7fabc.", "damaged or cut short"),
        (b"\x8e" + struct.pack("<Q", 2**62) + b"abc.", "damaged or cut short"),
        (b"\x8b\xff\xff\xff\x7fabc.", "damaged or cut short"),
        (long_of(200) + b".", "an integer of 201 bits"),
        (b"L" + b"9" * 100_000 + b"L\n.", "damaged or cut short"),
        (b"}" + long_of(70) + b"Ns.", "a key of 71 bits"),
        (b"}K\x01NsK\x01Ns.", "a dict that has a key twice"),
        (b"}K\x01K\x02\x86Ns.", "a tuple for a key"),
        (b"}]Ns.", "a list for a key"),
        (b"}(K\x01u.", "a key without a value"),
        (b"K\x01K\x02a.", "elements for what is no list"),
        (b"]K\x01Ns.", "items for what is no dict"),
        (b"](K\x01\x90.", "elements for what is no set"),
        (b"]K\x01b.", "attributes for a list"),
        (b"K\x01)R.", "a call of what is no function"),
        (b"ctorch\nSize\n]R.", "arguments that are no tuple"),
        (b"K\x01K\x02\x93.", "a name that is no text"),
        (b"K\x01\x86.", "a tuple of more than there is"),
        (b"ccollections\nOrderedDict\n)}K\x01K\x02s\x92.", "keywords that nothing takes"),
        (b"]Q.", "a storage without a description"),
    ],
)
def test_a_program_that_is_not_right(read, program, why) -> None:
    with pytest.raises(CheckpointError, match=f"made.pt is damaged or cut short .*{why}|{why}"):
        read(PROTO + program)


def test_a_huge_memo_index_takes_no_memory(read) -> None:
    tracemalloc.start()
    assert read(PROTO + b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.") is None
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_deep_nesting_is_only_deep(read) -> None:
    found, depth = read(PROTO + b"]" * 50_000 + b"a" * 49_999 + b"."), 0
    while found:
        found, depth = found[0], depth + 1
    assert depth == 49_999


def test_what_contains_itself_is_read(read) -> None:
    found = read(PROTO + b"]q\x00h\x00a.")
    assert found[0] is found


BOMBS = {
    "copies of a list": b"](" + b"N" * 10_000 + b"eq\x000cbuiltins\nlist\nq\x01" + b"h\x01h\x00\x85R0" * 1000,
    "copies of a text": b"X"
    + struct.pack("<I", 10**6)
    + b"a" * 10**6
    + b"q\x00"
    + b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR" * 1000,
    "tuples of tuples": b"Nq\x000" + b"h\x00h\x00\x86q\x000" * 60 + b"}h\x00Ns",
    "steps": b"N0" * (STEPS // 2 + 1),
}


@pytest.mark.parametrize("name", [name for name in BOMBS if name != "steps"])
def test_a_file_that_would_grow_is_refused(read, name) -> None:
    started = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        read(PROTO + BOMBS[name] + b"N.")
    assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    tracemalloc.stop()
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("instruction", [b"(", b"]", b"}", b"\x8f"])
def test_a_file_of_a_million_empty_containers_is_refused(read, instruction: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=f"takes more than {STEPS} steps to read"):
        read(b"\x80\x04" + instruction * 10**6 + b"N.")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 * 2**20


@pytest.mark.slow
def test_a_file_of_too_many_steps_is_refused(read) -> None:
    with pytest.raises(CheckpointError, match=f"takes more than {STEPS} steps to read"):
        read(PROTO + BOMBS["steps"] + b"N.")


def test_a_description_that_is_too_long_is_refused(read) -> None:
    with pytest.raises(CheckpointError, match="describes its tensors in 16777217 bytes; no more than 16777216 are read"):
        read(b"N" * (2**24 + 1))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"hello", "is no file of torch.save"),
        (b"PK\x03\x04", "is damaged or cut short"),
        (pickle.dumps([1], 2), "is a pickle, but no file of torch.save"),
        (HEADER.replace(b"\x88", b"\x89"), "was written with the big end first"),
    ],
)
def test_a_file_of_another_kind(tmp_path, content, why) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"x\.pt {why}"):
        read_checkpoint(path, nothing)


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"x\.pt cannot be read: No such file or directory"):
        read_checkpoint(tmp_path / "x.pt", nothing)


def zipped(path: Path, entries: list[tuple[str, bytes]], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:  # type: ignore[call-overload]
        for name, content in entries:
            archive.writestr(name, content)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("entries", "compression", "why"),
    [
        ([("a/data.pkl", b"N."), ("a/data.pkl", b"N.")], 0, "has an entry twice"),
        ([("a/data.pkl", b"N."), ("b/data.pkl", b"N.")], 0, "there is no data.pkl in it, or several"),
        ([("a/b/data.pkl", b"N.")], 0, "there is no data.pkl in it, or several"),
        ([("a/data.pkl", b"N."), ("a/constants.pkl", b"N.")], 0, "is a TorchScript archive, which holds a program"),
        ([("a/data.pkl", b"N."), ("a/byteorder", b"big")], 0, "is damaged: 'byteorder' has 3 bytes where 6 are due"),
        ([("a/data.pkl", b"N."), ("a/byteorder", b"middle")], 0, "the big end first"),
        ([("a/data.pkl", b"N" * 10_000)], zipfile.ZIP_DEFLATED, "holds 'data.pkl' compressed"),
    ],
)
def test_a_zip_file_of_another_kind(tmp_path, entries, compression, why) -> None:
    with pytest.raises(CheckpointError, match=why):
        read_checkpoint(zipped(tmp_path / "x.pt", entries, compression=compression), nothing)


def test_a_zip_entry_of_a_false_size(tmp_path) -> None:
    path = saved(tmp_path / "x.pt", torch.ones(100))
    content = path.read_bytes()
    for size in (0, 399, 401, 2**31):
        path.write_bytes(content.replace(struct.pack("<II", 400, 400), struct.pack("<II", size, size)))
        with pytest.raises(CheckpointError):
            read_checkpoint(path, nothing)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_is_cut_short_anywhere(tmp_path, zipped) -> None:
    path = saved(tmp_path / "x.pt", {"a": torch.ones(30), "b": nn.Linear(2, 2)}, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for length in range(0, len(content), max(len(content) // 100, 1)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            read_checkpoint(path, torch_only)


def mutated(content: bytes, generator: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(found))
        match generator.randrange(4):
            case 0:
                found[place] = generator.randrange(256)
            case 1:
                del found[place : place + generator.randint(1, 8)]
            case 2:
                found[place:place] = generator.randbytes(generator.randint(1, 8))
            case _:
                found[place : place + 4] = generator.choice([b"\xff" * 4, b"\x00" * 4, b"\xff\xff\xff\x7f"])
    return bytes(found)


def refused(run: Callable[[], object]) -> bool:
    try:
        run()
    except CheckpointError:
        return True
    return False


@pytest.mark.parametrize("form", ["zip", "pickle in zip", "legacy"])
def test_what_is_damaged_at_random_is_read_or_refused(tmp_path, form, read) -> None:
    content = {"a": torch.ones(30), "b": nn.Sequential(nn.Linear(2, 2)), "c": np.float64(1.5), "d": [{1, 2}, (1, "x")]}
    path = saved(tmp_path / "x.pt", content, _use_new_zipfile_serialization=form != "legacy")
    original = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(original)) if form != "legacy" else io.BytesIO() as archive:
        parts = {n: archive.read(n) for n in archive.namelist()} if isinstance(archive, zipfile.ZipFile) else {}
    program = next((part for name, part in parts.items() if name.endswith("data.pkl")), b"")
    storages = {f"_{name.rpartition('/')[2]}": part for name, part in parts.items() if "/data/" in name}
    generator = random.Random(0)
    started = time.perf_counter()
    outcomes = Counter()
    for _ in range(300):
        if form == "pickle in zip":
            outcomes[refused(lambda: read(mutated(program, generator), torch_only, **storages))] += 1
        else:
            path.write_bytes(mutated(original, generator))
            outcomes[refused(lambda: read_checkpoint(path, torch_only))] += 1
    assert outcomes[True] > 50
    assert time.perf_counter() - started < 20


@pytest.mark.shared
def test_a_real_checkpoint(shared) -> None:
    path = shared / "data" / "weights" / "yolov5n" / "yolov5n.pt"
    found = read_checkpoint(path, lambda name: name.startswith(("models.", "torch.nn.modules.")))
    assert found["model"].name == "models.yolo.Model"
    assert found["model"]["names"][:2] == ["person", "bicycle"]
    with pytest.raises(
        CheckpointError, match=r"yolov5n\.pt names 'models\.yolo\.Model', which is neither tensor nor plain data"
    ):
        read_checkpoint(path, nothing)
