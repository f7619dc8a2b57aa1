"""The pickle machine without its teeth: it moves plain data, and never imports or calls what a file names.

A pickle is a program for a small stack machine (`pickletools` describes every instruction). The standard machine looks
names up and calls them, which is why a foreign pickle can do anything. This one asks a `Vocabulary` whether a name is known,
and what a call of it makes: whatever the vocabulary does not know is refused by its name. All that a file can make the
machine do is bounded (`Bounds`).
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from zoo_core.errors import CheckpointError
from zoo_core.pickles.bounds import Bounds
from zoo_core.pickles.records import Record, elements_of, filled, items_of, keys
from zoo_core.pickles.tensors import Vocabulary

STEPS_OF = {"MARK": 5, "EMPTY_LIST": 5, "EMPTY_DICT": 5, "EMPTY_SET": 20}
"""Instructions of one byte that take more memory than others count for several steps."""
BYTES = 16 * 2**20  # of a pickle whose tensors lie beside it; that of the largest YOLOv5 has less than one
LINE = 4096
LONG_BITS = 128
STRINGS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
BINARY = frozenset({"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"})
NUMBERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"})
VALUES = STRINGS | BINARY | NUMBERS
CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
ALIASES = {"NEWOBJ": "REDUCE"}  # a class with arguments, or a function: it is not called either way
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Pickle(io.BytesIO):
    """The bytes of a pickle, whose lines are short: an integer in decimal digits takes time with the square of its length."""

    def __init__(self, data: bytes) -> None:
        if len(data) > BYTES:
            raise CheckpointError(f"describes its tensors in {len(data)} bytes; no more than {BYTES} are read")
        super().__init__(data)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line, or the beginning of a long one."""
        return super().readline(LINE if size is None or size < 0 else min(size, LINE))


class Stream:
    """A pickle of any size in a file of `size` bytes, read piece by piece."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, size: int) -> bytes:
        """Return so many bytes, or what is left: a false length takes no memory."""
        return self._read(self.file.read(min(size, self.left)))

    def readline(self) -> bytes:
        """Return a line, or the beginning of a long one."""
        return self._read(self.file.readline(min(LINE, self.left)))

    def _read(self, data: bytes) -> bytes:
        self.left -= len(data)
        return data


class Unpickler:
    """Runs the pickles of a file one after the other.

    Args:
        file: the pickles.
        vocabulary: what the names in them mean.
        persistent: from what stands for a tensor's memory to what is put in its place.
        bounds: how much it may do.
    """

    def __init__(self, file: Pickle | Stream, vocabulary: Vocabulary, persistent: Callable[[Any], Any], bounds: Bounds) -> None:
        self.file, self.vocabulary, self.persistent, self.bounds = file, vocabulary, persistent, bounds
        self._empty()

    def _empty(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the marks
        self.memo: dict[int, Any] = {}
        self.became: dict[int, tuple[Any, Any]] = {}  # by the id of the first, objects in the memo that are others now

    def load(self) -> Any:
        """Return what the next pickle describes.

        Raises `CheckpointError` for what is refused, and whatever comes of a damaged file: ValueError, IndexError, …
        """
        self._empty()
        for opcode, argument, _ in pickletools.genops(cast(BinaryIO, self.file)):
            self.bounds.spend(STEPS_OF.get(opcode.name, 1))
            if opcode.name == "STOP":
                return self.stack.pop()
            if not self._move(opcode.name, argument):
                self._do(opcode.name, argument)
        raise ValueError("the pickle has no end")

    def _do(self, name: str, argument: Any) -> None:
        """Do an instruction that has a method ``_do_name`` below; refuse any other."""
        method = getattr(self, f"_do_{ALIASES.get(name, name).lower()}", None)
        if method is not None:
            method() if argument is None else method(argument)
        elif name in SHORT_TUPLES:
            self._short_tuple(SHORT_TUPLES[name])
        elif name not in ("PROTO", "FRAME"):  # EXT1, EXT2, EXT4, PERSID, the buffers, and what a later Python may add
            raise CheckpointError(f"uses the pickle instruction {name}, which no checkpoint needs; nothing of it was run")

    def _move(self, name: str, argument: Any) -> bool:
        """Do an instruction that puts a value on the stack; return whether it is one."""
        if name in VALUES:
            if type(argument) is int and argument.bit_length() > LONG_BITS:
                raise ValueError(f"an integer of {argument.bit_length()} bits")
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in GETS:
            value = self.memo[argument]
            self.stack.append(self.became.get(id(value), (value, value))[1])
        elif name in PUTS:
            self.memo[argument] = self.stack[-1]
        else:
            return False
        return True

    def _do_memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _do_mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _do_dup(self) -> None:
        self.stack.append(self.stack[-1])

    def _do_pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._marked()

    def _do_pop_mark(self) -> None:
        self._marked()

    def _do_tuple(self) -> None:
        made = tuple(self._marked())
        self.stack.append(made)

    def _short_tuple(self, length: int) -> None:
        if len(self.stack) < length:
            raise IndexError("a tuple of more than there is")
        self.stack[-length:] = [tuple(self.stack[-length:])]

    def _do_list(self) -> None:
        made = self._marked()
        self.stack.append(made)

    def _do_dict(self) -> None:
        made = filled({}, self._marked())
        self.stack.append(made)

    def _do_frozenset(self) -> None:
        made = frozenset(keys(self._marked()))
        self.stack.append(made)

    def _do_append(self) -> None:
        element = self.stack.pop()
        elements_of(self.stack[-1]).append(element)

    def _do_appends(self) -> None:
        marked = self._marked()
        elements_of(self.stack[-1]).extend(marked)

    def _do_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        filled(items_of(self.stack[-1]), [key, value])

    def _do_setitems(self) -> None:
        marked = self._marked()
        filled(items_of(self.stack[-1]), marked)

    def _do_additems(self) -> None:
        marked = self._marked()
        if type(self.stack[-1]) is not set:
            raise TypeError("elements for what is no set")
        self.stack[-1].update(keys(marked))

    def _do_global(self, pair: str) -> None:
        self.stack.append(self.vocabulary.refer(".".join(pair.split(" ", 1))))

    def _do_stack_global(self) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        if type(attribute) is not str or type(module) is not str:
            raise TypeError("a name that is no text")
        self.stack.append(self.vocabulary.refer(f"{module}.{attribute}"))

    def _do_inst(self, pair: str) -> None:
        function = self.vocabulary.refer(".".join(pair.split(" ", 1)))
        marked = self._marked()
        self.stack.append(self._called(function, tuple(marked)))

    def _do_obj(self) -> None:
        function, *arguments = self._marked()
        self.stack.append(self._called(function, tuple(arguments)))

    def _do_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self._called(function, arguments))

    def _do_newobj_ex(self) -> None:
        keywords = self.stack.pop()
        self._do_reduce()
        if type(keywords) is not dict or (keywords and type(self.stack[-1]) is not Record):
            raise TypeError("keywords that nothing takes")
        self._build(keywords or None)

    def _do_build(self) -> None:
        self._build(self.stack.pop())

    def _do_binpersid(self) -> None:
        self.stack.append(self.persistent(self.stack.pop()))

    def _build(self, state: Any) -> None:
        made = self.stack[-1]
        self.stack[-1] = built = self.vocabulary.build(made, state)
        if built is not made:
            self.became[id(made)] = (made, built)

    def _called(self, function: Any, arguments: Any) -> Any:
        if type(arguments) is not tuple:
            raise TypeError("arguments that are no tuple")
        return self.vocabulary.call(function, arguments)

    def _marked(self) -> list[Any]:
        """Return what lies above the last mark, and go back below it."""
        marked, self.stack = self.stack, self.below.pop()
        return marked
