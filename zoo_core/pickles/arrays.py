"""Arrays of NumPy as tensors, for the pickles whose weights are such arrays."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from zoo_core.errors import CheckpointError
from zoo_core.pickles.records import Name, Record
from zoo_core.pickles.tensors import NUMPY, Vocabulary, dimensions

NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
RECONSTRUCT = frozenset(f"{module}._reconstruct" for module in NUMPY)
FROM_BUFFER = frozenset(f"{module}._frombuffer" for module in NUMERIC)  # as protocol 5 has it
DTYPES = {
    **{"f2": torch.float16, "f4": torch.float32, "f8": torch.float64, "b1": torch.bool},
    **{"i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64},
    **{"u1": torch.uint8, "u2": torch.uint16, "u4": torch.uint32, "u8": torch.uint64},
}


class ArrayVocabulary(Vocabulary):
    """Names as `Vocabulary` has them; arrays are tensors of the same shape and type, and share no memory with the pickle."""

    def refer(self, name: str) -> Name:
        """Return what stands for a name; raise `CheckpointError` for one that is not known."""
        return Name(name) if name in FROM_BUFFER else super().refer(name)

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return what a call would have made: a tensor, plain data or a record."""
        if type(function) is Name and function.name in FROM_BUFFER:
            return self._from_buffer(*arguments)
        return super().call(function, arguments)

    def build(self, made: Any, state: Any) -> Any:
        """Return what an object is with its state: of an array that has its content now, a tensor."""
        if type(made) is Record and made.name in RECONSTRUCT and _is_plain(made):
            _, shape, dtype, fortran, data = state
            return self._array(data, dtype, shape, "F" if fortran else "C")
        return super().build(made, state)

    def _from_buffer(self, data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Tensor:
        """An array in the order "C", "F", or of `axes`: these are where the axes of `shape` go."""
        if order != "K":
            return self._array(data, dtype, shape, order)
        return self._array(data, dtype, shape, "C").permute(axes)

    def _array(self, data: Any, dtype: Any, shape: Any, order: Any) -> Tensor:
        kind, shape = _dtype(dtype), dimensions(shape)
        if order not in ("C", "F"):
            raise ValueError("an array in an order of its own")
        values = torch.frombuffer(memory, dtype=kind) if (memory := self._memory(data)) else torch.empty(0, dtype=kind)
        if values.numel() != prod(shape):
            raise ValueError(f"an array of size {list(shape)} with {values.numel()} elements")
        return values.reshape(shape) if order == "C" else values.reshape(shape[::-1]).permute(*reversed(range(len(shape))))

    def _memory(self, data: Any) -> bytearray:
        """Return the content of an array as memory that can be written to."""
        if type(data) is bytearray:  # which belongs to this array alone
            return data
        if type(data) is Record and data.name == "builtins.bytes" and not data.arguments:  # protocol 2 calls it for none
            data = b""
        if type(data) is str:  # the bytes of Python 2
            self.bounds.copy(len(data))
            data = data.encode("latin-1")
        if type(data) is not bytes:
            raise TypeError("an array without its bytes")
        self.bounds.copy(len(data))
        return bytearray(data)


def _is_plain(made: Record) -> bool:
    first = made.arguments[0] if made.arguments else None
    return type(first) is Name and first.name == "numpy.ndarray"


def _dtype(dtype: Any) -> torch.dtype:
    """Return the type of an array's elements; raise `CheckpointError` for one that no tensor has."""
    if type(dtype) is not Record or dtype.name != "numpy.dtype" or not dtype.arguments or type(dtype.state) is not tuple:
        raise TypeError("an array without a type")
    code = dtype.arguments[0]
    known = DTYPES.get(code) if type(code) is str else None
    if known is None:
        raise CheckpointError(f"holds an array of {str(code)[:20]!r}; those of numbers and booleans alone are read")
    if dtype.state[1:2] not in (("<",), ("|",)):
        raise CheckpointError("holds an array with the big end first, which is not read")
    return known
