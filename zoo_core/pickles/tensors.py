"""The names that a checkpoint may hold, and what they become: tensors, plain data, or records that do nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_core.errors import CheckpointError
from zoo_core.pickles.bounds import Bounds
from zoo_core.pickles.records import Name, Record, filled, give_state

STORAGES = {
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
DTYPES = "float32 float16 bfloat16 float64 int64 int32 int16 int8 uint8 bool float half double long int short"
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
INERT = {
    *STORAGES,
    *(f"torch.{name}" for name in DTYPES.split()),
    *("torch.device", "numpy.dtype", "numpy.ndarray"),
    *(f"{module}._reconstruct" for module in NUMPY),
    *(f"builtins.{name}" for name in ("int", "float", "str", "bool", "bytes", "object", "complex")),
}
"""What stays a name, and when it is called becomes a record: it means nothing here, and does nothing."""

MOST_DIMENSIONS = 16
NUMBERS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b"}
NUMBERS |= {"u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "?"}


@dataclass(frozen=True, eq=False)
class Storage:
    """The memory of tensors: a flat tensor (N)."""

    values: Tensor


class Vocabulary:
    """What the names of a file mean.

    Args:
        allowed: which further names, "module.Class", become records.
        bounds: counts the elements and the bytes that are copied.
    """

    def __init__(self, allowed: Callable[[str], bool], bounds: Bounds) -> None:
        self.allowed, self.bounds = allowed, bounds

    def refer(self, name: str) -> Name:
        """Return what stands for a name; raise `CheckpointError` for one that is not known."""
        if name.startswith("__builtin__."):  # as Python 2 has it, and pickles to this day
            name = name.replace("__builtin__", "builtins", 1)
        if name in CALLS:
            return Name(name, known=True)
        if name in INERT or self.allowed(name):
            return Name(name)
        shown = repr(name if len(name) <= 100 else f"{name[:100]}…")
        raise CheckpointError(f"names {shown}, which is neither tensor nor plain data; nothing of it was run")

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return what a call would have made: a tensor, plain data or a record."""
        if type(function) is not Name:
            raise TypeError("a call of what is no function")
        if function.known:
            return CALLS[function.name](self.bounds, *arguments)
        return Record(function.name, arguments)

    def build(self, made: Any, state: Any) -> Any:
        """Return what an object is once it has its state, most often itself."""
        give_state(made, state)
        return made


def _mapping(bounds: Bounds, pairs: Any = ()) -> dict[Any, Any]:
    if type(pairs) is dict:
        pairs = list(pairs.items())
    bounds.spend(len(pairs))
    if any(type(pair) not in (tuple, list) or len(pair) != 2 for pair in _sequence(pairs)):
        raise TypeError("items that are no pairs")
    return filled({}, [part for pair in pairs for part in pair])


def _defaulting(bounds: Bounds, factory: Any = None, pairs: Any = ()) -> dict[Any, Any]:  # noqa: ARG001
    return _mapping(bounds, pairs)


def _sequence(values: Any) -> Any:
    if type(values) not in (tuple, list):
        raise TypeError(f"a {type(values).__name__} where a list is due")
    return values


def _list(bounds: Bounds, values: Any = ()) -> list[Any]:
    bounds.spend(len(_sequence(values)))
    return list(values)


def _tuple(bounds: Bounds, values: Any = ()) -> tuple[Any, ...]:
    return tuple(_list(bounds, values))


def _set(bounds: Bounds, values: Any = ()) -> set[Any]:
    return set(filled({}, [part for value in _list(bounds, values) for part in (value, None)]))


def _encode(bounds: Bounds, text: Any, encoding: Any) -> bytes:
    """Bytes, as the pickles of protocol 2 have them."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise TypeError("bytes that are not written as Latin-1")
    bounds.copy(len(text))
    return text.encode("latin-1")


def _scalar(bounds: Bounds, dtype: Any, data: Any = None) -> Any:  # noqa: ARG001
    """A number of NumPy's, as a number of Python's; one of another type as a record."""
    if type(dtype) is Record and dtype.name == "numpy.dtype" and dtype.arguments and type(data) is bytes:
        code = NUMBERS.get(dtype.arguments[0]) if type(dtype.arguments[0]) is str else None
        big = type(dtype.state) is tuple and dtype.state[1:2] == (">",)
        if code is not None:
            return struct.unpack((">" if big else "<") + code, data)[0]
    return Record("numpy.scalar", (dtype, data))


def dimensions(numbers: Any) -> tuple[int, ...]:
    """Return what says where the elements of a tensor lie: few natural numbers."""
    if len(_sequence(numbers)) > MOST_DIMENSIONS:
        raise ValueError(f"a tensor of more than {MOST_DIMENSIONS} dimensions")
    if any(type(number) is not int or not 0 <= number < 2**62 for number in numbers):
        raise ValueError("a tensor whose size, stride or offset is no natural number")
    return tuple(numbers)


def _tensor(bounds: Bounds, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:  # noqa: ARG001
    """A view of a storage, all of whose elements lie in it."""
    if type(storage) is not Storage:
        raise TypeError("a tensor without a storage")
    size, stride, (offset,) = dimensions(size), dimensions(stride), dimensions((offset,))
    if len(size) != len(stride):
        raise ValueError("a tensor whose size and stride differ in length")
    held, needed, last = storage.values.numel(), 1, offset
    for length, step in zip(size, stride, strict=True):
        needed *= length
        last += (length - 1) * step
    if needed > held or offset > held or (needed and last >= held):
        raise ValueError(f"a tensor of size {list(size)} in a storage of {held} elements")
    return torch.as_strided(storage.values, size, stride, offset)


def _parameter(bounds: Bounds, data: Any, *rest: Any) -> Tensor:  # noqa: ARG001
    if not isinstance(data, Tensor):
        raise TypeError("a parameter without a tensor")
    return data


CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": _tuple,
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "collections.defaultdict": _defaulting,
    "builtins.dict": _mapping,
    "builtins.list": _list,
    "builtins.tuple": _tuple,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "_codecs.encode": _encode,
    **{f"{module}.scalar": _scalar for module in NUMPY},
}
"""What may be called: functions of this module, which stand for those of that name."""
