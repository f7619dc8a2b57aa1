"""The options of specs as text: the settings of a recipe as a tree, those of a part as a table."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from zoo_cli.table import clip, width
from zoo_core.specs import ComponentSpec, Spec, slots

SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


@dataclass(frozen=True)
class Option:
    """One option of a part. `default` is JSON data, and null also when the option is required."""

    name: str
    type: str
    default: Any
    required: bool
    meaning: str


WIDEST = 26
"""Columns of a table have at most this many characters; only the meaning goes on in further lines."""
DEEPEST = 40
"""Columns by which a tree is indented at most."""


def options(cls: type[Spec]) -> list[Option]:
    """Return the options of a spec class."""
    kinds = slots(cls)
    return [
        Option(
            name, kinds.get(name) or type_name(field), _default(field), field.is_required(), _meaning(field, kinds.get(name))
        )
        for name, field in cls.model_fields.items()
        if name != "type"
    ]


def type_name(field: FieldInfo) -> str:
    """Return the type of a field as one would say it: ``int > 0``, ``'giou' | 'l1'``, ``list of int``."""
    bounds = [f"{sign} {getattr(mark, key)}" for mark in field.metadata for key, sign in SIGNS.items() if hasattr(mark, key)]
    return " ".join([_say(field.annotation), *bounds])


def _say(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is None:
        return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))
    if origin is Annotated:
        return _say(inner[0])
    if origin is Literal:
        return " | ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " | ".join(map(_say, inner))
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"{len(inner)} × {_say(inner[0])}" if len(set(inner)) == 1 else ", ".join(map(_say, inner))
    if origin in (tuple, list):
        return f"list of {_say(inner[0])}"
    return str(annotation)


def _meaning(field: FieldInfo, kind: str | None) -> str:
    return field.description or (f"a part of 'zoo-cli list --kind {kind}'" if kind else "")


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return None
    return to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))


def table_of_options(cls: type[ComponentSpec]) -> list[str]:
    """Return the options of a spec class as a table, the meaning of each wrapped into the width."""
    found = options(cls)
    if not found:
        return ["It has no options."]
    rows = [("OPTION", "TYPE", "DEFAULT", "MEANING")]
    rows += [(o.name, clip(o.type, WIDEST), "(required)" if o.required else _short(o.default), o.meaning) for o in found]
    widths = [min(max(len(row[i]) for row in rows), WIDEST) for i in range(3)]
    left = max(width() - sum(widths) - 6, 20)
    lines = []
    for row in rows:
        meaning = textwrap.wrap(row[3], left) or [""]
        cells = [cell.ljust(n) for cell, n in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, meaning[0]]).rstrip())
        lines += [" " * (sum(widths) + 6) + more for more in meaning[1:]]
    return lines


def _short(value: Any) -> str:
    """Return a default in few characters: of a part its name alone."""
    if isinstance(value, dict) and "type" in value:
        return f"{value['type']} …" if len(value) > 1 else str(value["type"])
    return clip(text(value), WIDEST)


def text(value: Any) -> str:
    """Return a value as ``--set`` takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested options as ``("augment.mosaic", 1.0)``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def tree(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Yield nested options as `settings` has them, where nobody is here who knows their meaning."""
    for name, value in values.items():
        if isinstance(value, Mapping) and len(indent) < DEEPEST:
            yield f"{indent}{name}:"
            yield from tree(value, indent + "  ")
        else:
            yield f"{indent}{name}: {'…' if isinstance(value, Mapping) else text(value)}"


def settings(spec: BaseModel) -> list[str]:
    """Return a complete spec as an indented tree, with the meaning of each option behind it."""
    lines = list(_tree(spec, ""))
    column = min(max((len(line) for line, meaning in lines if meaning), default=0), width() // 2)
    return [clip(f"{line.ljust(column)}  # {meaning}", width()) if meaning else line for line, meaning in lines]


def _tree(spec: BaseModel, indent: str) -> Iterator[tuple[str, str]]:
    data = spec.model_dump(mode="json")
    for name, field in type(spec).model_fields.items():
        value, meaning = getattr(spec, name), field.description or ""
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:", meaning
            yield from _tree(value, indent + "  ")
        elif isinstance(value, list | tuple) and value and all(isinstance(item, BaseModel) for item in value):
            for place, item in enumerate(value):
                yield f"{indent}{name}[{place}]:", meaning
                yield from _tree(item, indent + "  ")
        else:
            yield f"{indent}{name}: {text(data[name])}", meaning
