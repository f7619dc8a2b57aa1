"""The files of ``torch.save``, read without running anything that is in them."""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile

import torch

from zoo_core.errors import CheckpointError
from zoo_core.pickles.bounds import Bounds
from zoo_core.pickles.machine import BYTES, Pickle, Unpickler
from zoo_core.pickles.records import Name
from zoo_core.pickles.tensors import STORAGES, Storage, Vocabulary

ZIP = b"PK\x03\x04"
PICKLE = b"\x80"  # of protocol 2 and later
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
SHOWN = 200


def read_checkpoint(path: str | Path, allowed: Callable[[str], bool]) -> Any:
    """Return what ``torch.save`` wrote to a file, as tensors on the CPU, plain data and records.

    Nothing that the file names is imported or called, and no file makes this slow or large: a small file that describes
    much is refused. Objects come as a `zoo_core.pickles.records.Record`; parameters as tensors; mappings as dicts,
    numbers of NumPy's as those of Python.

    Args:
        path: a file of PyTorch 1.6 or later (a zip file), or of the format before that.
        allowed: says of "module.Class" whether the file may hold such objects. They are not made: they become records.

    Raises:
        CheckpointError: another kind of file; one that is damaged or cut short; one that names anything else.
    """
    with opened(path) as (file, size):
        start = file.read(len(ZIP))
        file.seek(0)
        if start == ZIP:
            with ZipFile(file) as archive:
                return Zip(archive, size).read(allowed)
        if start[:1] == PICKLE:
            return Legacy(file, size).read(allowed)
        raise CheckpointError(f"is {'no file of torch.save' if start else 'empty'}")


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[BinaryIO, int]]:
    """Give a file and its size to a block that reads it; whatever goes wrong there is told as a `CheckpointError`."""
    try:
        with open(path, "rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a damaged file makes of zipfile, pickletools and the instructions
        text = f"{type(error).__name__}: {error}"
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
        raise CheckpointError(f"{path} is damaged or cut short ({shown})") from error


class Container(ABC):
    """A file with a pickle and the memory of its tensors. `size` is that of the file; no more memory is taken than that."""

    def __init__(self, size: int) -> None:
        self.size = self.left = size
        self.storages: dict[str, Storage] = {}

    @abstractmethod
    def read(self, allowed: Callable[[str], bool]) -> Any:
        """Return what the pickle describes."""

    @abstractmethod
    def memory(self, key: str, size: int) -> bytearray:
        """Return `size` bytes: the content of a storage, or the place where it will be put."""

    def unpickler(self, file: Pickle, allowed: Callable[[str], bool]) -> Unpickler:
        """Return a machine for pickles whose tensors lie in this file."""
        bounds = Bounds(file.getbuffer().nbytes)
        return Unpickler(file, Vocabulary(allowed, bounds), self.persistent, bounds)

    def persistent(self, identity: Any) -> Any:
        """Return what a pickle refers to: a storage, or in the old format a class, which comes with its source."""
        if type(identity) is tuple and len(identity) == 4 and identity[0] == "module" and type(identity[1]) is Name:
            return identity[1]
        return self.storage(identity)

    def storage(self, identity: Any) -> Storage:
        """Return the storage of ("storage", type, key, device, number of elements), read once."""
        if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
            raise ValueError("a storage without a description")
        _, kind, key, _, count = identity[:5]
        dtype = STORAGES.get(kind.name) if type(kind) is Name else None
        if dtype is None or type(key) is not str or type(count) is not int or count < 0 or identity[5:] not in ((), (None,)):
            raise ValueError("a storage of an unknown type or size")
        known = self.storages.get(key)
        if known is None:
            size = count * dtype.itemsize
            self.left -= size
            if self.left < 0:
                raise CheckpointError(f"is damaged or cut short: its tensors take more than its {self.size} bytes")
            memory = self.memory(key, size)
            known = Storage(torch.frombuffer(memory, dtype=dtype) if size else torch.empty(0, dtype=dtype))
            self.storages[key] = known
        elif known.values.dtype != dtype or known.values.numel() != count:
            raise ValueError("a storage of two types or sizes")
        return known


class Zip(Container):
    """The format since PyTorch 1.6: a zip file, each storage an entry of it."""

    def __init__(self, archive: ZipFile, size: int) -> None:
        super().__init__(size)
        self.archive = archive
        names = [info.filename for info in archive.infolist()]
        if len(set(names)) < len(names):
            raise CheckpointError("is a zip file that has an entry twice")
        folders = [name.partition("/")[0] for name in names if name.partition("/")[2] == "data.pkl"]
        if len(folders) != 1:
            raise CheckpointError("is a zip file, but no file of torch.save: there is no data.pkl in it, or several")
        self.folder = folders[0]
        if f"{self.folder}/constants.pkl" in names:
            raise CheckpointError("is a TorchScript archive, which holds a program; give the checkpoint that it was made from")

    def read(self, allowed: Callable[[str], bool]) -> Any:
        """Return what ``data.pkl`` describes."""
        if f"{self.folder}/byteorder" in self.archive.namelist() and self._entry("byteorder", 6) != b"little":
            raise CheckpointError("was written with the big end first, which is not read")
        return self.unpickler(Pickle(self._entry("data.pkl", None)), allowed).load()

    def memory(self, key: str, size: int) -> bytearray:
        """Return the content of an entry."""
        return bytearray(self._entry(f"data/{key}", size))

    def _entry(self, name: str, size: int | None) -> bytes:
        """Return the content of an entry that has `size` bytes, or any size that a pickle may have."""
        try:
            info = self.archive.getinfo(f"{self.folder}/{name}")
        except KeyError:
            raise CheckpointError(f"is damaged or cut short: {name[:SHOWN]!r} is missing") from None
        if info.compress_type != ZIP_STORED or info.file_size != info.compress_size:
            raise CheckpointError(f"holds {name[:SHOWN]!r} compressed, which torch.save does not do")
        if size is None and info.file_size > BYTES:
            raise CheckpointError(f"describes its tensors in {info.file_size} bytes; no more than {BYTES} are read")
        if info.file_size > self.size or size not in (None, info.file_size):
            raise CheckpointError(f"is damaged: {name[:SHOWN]!r} has {info.file_size} bytes where {size} are due")
        return self.archive.read(info)


class Legacy(Container):
    """The format before PyTorch 1.6: five pickles, then the storages, each after its number of elements."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(size)
        self.file = file
        self.memories: dict[str, bytearray] = {}

    def read(self, allowed: Callable[[str], bool]) -> Any:
        """Return what the fourth pickle describes, when its storages are filled."""
        file = Pickle(self.file.read(BYTES))
        pickles = self.unpickler(file, allowed)
        if pickles.load() != MAGIC or pickles.load() != PROTOCOL:
            raise CheckpointError("is a pickle, but no file of torch.save")
        system = pickles.load()
        if type(system) is not dict or system.get("little_endian") is not True:
            raise CheckpointError("was written with the big end first, which is not read")
        content, keys = pickles.load(), pickles.load()
        if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(self.storages):
            raise ValueError("storages that are not those of the tensors")
        self.file.seek(file.tell())
        for key in keys:
            (count,) = struct.unpack("<q", self.file.read(8))
            memory = self.memories.get(key, bytearray())
            if count != self.storages[key].values.numel() or self.file.readinto(memory) != len(memory):  # type: ignore[attr-defined]
                raise ValueError(f"storage {key[:SHOWN]!r} is not of its size")
        return content

    def memory(self, key: str, size: int) -> bytearray:
        """Return the place of a storage, which is filled at the end."""
        self.memories[key] = bytearray(size)
        return self.memories[key]
