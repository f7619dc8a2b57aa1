"""What a pickle holds, as plain data: records in the place of objects, and containers that cannot be made to take long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KEY_BITS = 64


@dataclass(frozen=True, eq=False)
class Name:
    """What a file names, a class or a function: the name alone. ``known`` are those that the reader can call."""

    name: str
    known: bool = False


@dataclass(eq=False, repr=False, slots=True)
class Record:
    """An object of a class that was not made: what the file says of it.

    Attributes:
        name: "module.Class".
        arguments: what it would have been made with.
        state: what would have been its attributes, most often a dict; ``record["weight"]`` looks there.
        content: the items of a subclass of dict, or the elements of a subclass of list; else None.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    content: dict[Any, Any] | list[Any] | None = None

    def __getitem__(self, attribute: str) -> Any:
        """Return an attribute; raise `KeyError` where there is none."""
        if isinstance(self.state, dict) and attribute in self.state:
            return self.state[attribute]
        raise KeyError(attribute)

    def __contains__(self, attribute: object) -> bool:
        return isinstance(self.state, dict) and attribute in self.state

    def get(self, attribute: str, default: Any = None) -> Any:
        """Return an attribute, or `default`."""
        return self.state.get(attribute, default) if isinstance(self.state, dict) else default

    def __repr__(self) -> str:
        return f"Record({self.name!r})"


def keys(values: list[Any]) -> list[Any]:
    """Return `values` if they can be looked up in little time. Of tuples and long integers many can share a hash."""
    for value in values:
        if not (value is None or isinstance(value, str | bytes | bool | int | float | Name | Record)):
            raise TypeError(f"a {type(value).__name__} for a key")
        if isinstance(value, int) and value.bit_length() > KEY_BITS:
            raise ValueError(f"a key of {value.bit_length()} bits")
    return values


def filled(items: dict[Any, Any], flat: list[Any]) -> dict[Any, Any]:
    """Put ``[key, value, key, value, …]`` into a dict, where no key may stand already, and return it."""
    if len(flat) % 2:
        raise ValueError("a key without a value")
    for key, value in zip(keys(flat[::2]), flat[1::2], strict=True):
        if key in items:
            raise ValueError("a dict that has a key twice")
        items[key] = value
    return items


def items_of(container: Any) -> dict[Any, Any]:
    """Return the dict of a container of items: itself, or the content of a record."""
    if type(container) is Record:
        container.content = {} if container.content is None else container.content
        container = container.content
    if type(container) is not dict:
        raise TypeError("items for what is no dict")
    return container


def elements_of(container: Any) -> list[Any]:
    """Return the list of a container of elements: itself, or the content of a record."""
    if type(container) is Record:
        container.content = [] if container.content is None else container.content
        container = container.content
    if type(container) is not list:
        raise TypeError("elements for what is no list")
    return container


def give_state(made: Any, state: Any) -> None:
    """Give an object its state. That of a dict, such as the ``_metadata`` of PyTorch's, says nothing of its items."""
    if type(made) is Record:
        made.state = state
    elif type(made) is not dict and state is not None:
        raise TypeError(f"attributes for a {type(made).__name__}")
