"""What chance and malice do to bytes and to trees of plain data. All of it follows from the generator that is given."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

Bytes = bytes
ESCAPE = "\x1b]0;owned\x07\x1b[31m"
NAMES = (
    *("os.system", "zoo_core.hub:save", "builtins.exec", "../../../etc/passwd", "..", ".", "/", "/etc/passwd", "a/b/c", ""),
    *("zoo-timm/test_resnet", "zoo-core/", "con", "a" * 300, "x" * 10_000_000, ESCAPE, "a\nb\rc", "\x00", "\u202egnp.exe"),
    *("{0.__class__}", "%s%n", "$(id)", "`id`", "'; drop table", "one_stage", "two_stage", "blocks", "class 0", "\ud800"),
)
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 7, 255, 1_000, 20_000, 100_000, 10**6, 10**7, 10**8, 10**9, 2**31, 2**32, 2**53, 2**63, 2**64),
    *(10**18, 10**30, 10**400, -(10**9), 0.0, -0.0, 0.5, 1e-300, 1e300, -1e300, 5e-324),
    *(float("nan"), float("inf"), float("-inf")),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None] * 3, {"type": None}, {"type": "blocks"}, "1", "1e9", "null")


def broken(rng: random.Random, data: bytes) -> bytes:
    """Return bytes with a few of them changed, taken out, put in, repeated or cut off."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place = rng.randrange(len(found) + 1)
        kind = rng.randrange(8)
        if kind <= 2 and found:
            found[place % len(found)] ^= 1 << rng.randrange(8)
        elif kind == 3 and found:
            found[place % len(found)] = rng.choice((0, 0xFF, 0x7F, 0x80, ord('"'), ord("{"), ord("["), rng.randrange(256)))
        elif kind == 4:
            del found[place:]
        elif kind == 5:
            del found[place : place + rng.randrange(1, 40)]
        elif kind == 6:
            found[place:place] = rng.randbytes(rng.choice((1, 4, 8, 100)))
        else:
            start = rng.randrange(len(found) + 1)
            found[place:place] = found[start : start + rng.randrange(1, 200)]
    return bytes(found)


def places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a tree of dicts and lists, that of the tree itself left out."""
    pairs: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield (*above, key)
        yield from places(value, (*above, key))


def bent(rng: random.Random, tree: Any) -> Any:
    """Return a copy of a tree with one to three values replaced, taken out, moved, nested or joined by others."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = list(places(tree))
        if found:
            _bend(rng, tree, rng.choice(found))
    return tree


def _bend(rng: random.Random, tree: Any, path: tuple[Any, ...]) -> None:  # noqa: C901
    holder = tree
    for step in path[:-1]:
        holder = holder[step]
    key = path[-1]
    kind = rng.randrange(12)
    if kind <= 3:
        holder[key] = _like(rng, holder[key])
    elif kind == 4:
        holder[key] = rng.choice(NUMBERS)
    elif kind == 5:
        holder[key] = rng.choice(NAMES)
    elif kind == 6:
        holder[key] = copy.deepcopy(rng.choice(OTHERS))
    elif kind == 7:
        del holder[key]
    elif kind == 8 and isinstance(holder, dict):
        holder[rng.choice((*NAMES, "typ", "weights", "pretrained", "__class__"))] = copy.deepcopy(holder[key])
    elif kind == 9:
        holder[key] = _deep(rng, holder[key])
    elif kind == 10:
        holder[key] = [copy.deepcopy(holder[key]) for _ in range(rng.choice((1, 2, 50, 10_000)))]
    else:
        other = rng.choice(list(places(tree)))
        value = tree
        for step in other:
            value = value[step]
        holder[key] = copy.deepcopy(value)


def _like(rng: random.Random, value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice((*NUMBERS, value + 1, value * 2, value // 2, -value))
    if isinstance(value, str):
        return rng.choice((*NAMES, value.upper(), value + "x", f"zoo-core/{value}", f"../{value}", value * 2))
    if isinstance(value, list):
        many = rng.choice((0, 1, 2, 100, 100_000))
        grown: tuple[Callable[[], Any], ...] = (
            lambda: value[::-1],
            lambda: (value * (many // max(len(value), 1) + 1))[:many],
            lambda: [2**k for k in range(min(many, 4_000))],
            lambda: [value],
        )
        return rng.choice(grown)()
    return {} if isinstance(value, dict) else rng.choice(NUMBERS)


def _deep(rng: random.Random, value: Any) -> Any:
    for _ in range(rng.choice((1, 10, 200))):
        value = [value] if rng.random() < 0.5 else {"type": "two_stage", "backbone": value}
    return value
