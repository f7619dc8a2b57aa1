"""Options as pydantic models: closed, frozen, checked before a tensor exists.

A *slot* is a field that holds the options of another part. It accepts a spec, a dict with ``type``, or a bare name, and
looks the name up in the registry, so a part of a stranger's plugin is checked like one of ours.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from zoo_core.errors import SpecError, ZooError, nearest
from zoo_core.registry import Entry, find

S = TypeVar("S", bound="Spec")


class Spec(BaseModel):
    """Options of anything. An unknown option is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    def __init__(self, /, **options: Any) -> None:
        """Check the options; raise a `SpecError` with every problem and the nearest right names."""
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise SpecError(_problems(type(self), error)) from None
        except (ZooError, RecursionError):
            raise
        except Exception as error:  # a check of a stranger's spec that is itself not right
            raise SpecError([("", f"{type(self).__name__} cannot be checked: {type(error).__name__}: {error}")]) from error


class ComponentSpec(Spec):
    """Options of a registered part. A subclass gives `type` its default: the name that the part is registered under."""

    type: str


@dataclass(frozen=True)
class Slot:
    """Marks a field as the place for a part: ``backbone: Annotated[ComponentSpec, Slot("backbone")]``."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that resolves what is put into the slot, and dumps it in full."""
        optional = type(None) in get_args(source)

        def validate(value: Any) -> ComponentSpec | None:
            return None if optional and value is None else self.resolve(value)

        def dump(value: ComponentSpec | None) -> dict[str, Any] | None:
            return None if value is None else value.model_dump(mode="json")

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(dump)
        )

    def resolve(self, value: Any) -> ComponentSpec:
        """Return the checked spec for a spec, a dict with ``type``, or a name."""
        if isinstance(value, str):
            value = {"type": value}
        name = value.type if isinstance(value, ComponentSpec) else value.get("type") if isinstance(value, Mapping) else None
        kind = self.kind.replace("_", " ")
        if not isinstance(name, str):
            raise SpecError([("", f"expected a name, a dict with 'type', or a spec of a {kind}; got {_shown(value)}")])
        try:
            cls = spec_class(find(self.kind, name))
        except ZooError as error:
            raise SpecError([("", str(error))]) from error
        if not isinstance(value, ComponentSpec):
            return _made(cls, value)
        if not isinstance(value, cls):
            raise SpecError([("", f"{kind} '{name}' takes a {cls.__name__}, not a {type(value).__name__}")])
        return value


def spec_class(entry: Entry) -> type[ComponentSpec]:
    """Return the class of a part's options; raise a `BrokenPluginError` if it is no `ComponentSpec`."""
    cls = entry.spec()
    if isinstance(cls, type) and issubclass(cls, ComponentSpec):
        return cls
    raise entry.broken(f"has for options a {_shown(cls)}, which is no subclass of ComponentSpec")


def validate(cls: type[S], data: Mapping[str, Any]) -> S:
    """Return ``cls(**data)``, or raise a `SpecError` with every problem and the nearest right names."""
    try:
        return _made(cls, data)
    except RecursionError:
        raise SpecError([("", "the options are nested too deeply, or contain themselves")]) from None


def _made(cls: type[S], data: Mapping[str, Any]) -> S:
    wrong = [key for key in data if not isinstance(key, str)]
    if wrong:
        raise SpecError([("", f"the name of an option is a string, not {_shown(key)}") for key in wrong])
    return cls(**data)


def _problems(cls: type[Spec], error: ValidationError) -> list[tuple[str, str]]:
    """Return (path, message) for everything that pydantic found, inner specs included."""
    problems: list[tuple[str, str]] = []
    alternatives = _alternatives(cls)
    for item in error.errors(include_url=False):
        path = [str(step) for step in item["loc"]]
        path = path[:1] if path and path[0] in alternatives else path
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, SpecError):
            problems += [(".".join([*path, *([inner] if inner else [])]), text) for inner, text in cause.problems]
        elif item["type"] == "extra_forbidden":
            hint = nearest(path[-1], options(cls)) if len(path) == 1 else ""
            problems.append((".".join(path[:-1]), f"no option '{path[-1]}'{hint}"))
        elif item["type"] == "missing":
            problems.append((".".join(path), "is required"))
        elif isinstance(cause, ValueError) and str(cause):
            problems.append((".".join(path), str(cause)))
        else:
            text = f"{item['msg'][:1].lower()}{item['msg'][1:]}, got {_shown(item['input'])}"
            problems.append((".".join(path), text))
    return _joined(problems, alternatives)


def _alternatives(cls: type[Spec]) -> set[str]:
    """Return the options that may be of several types; pydantic reports each type's problem under a name of its own."""
    arms = {name: set(get_args(field.annotation)) - {type(None)} for name, field in cls.model_fields.items()}
    unions = {name for name, field in cls.model_fields.items() if get_origin(field.annotation) in (Union, UnionType)}
    return {name for name in unions if len(arms[name]) > 1}


def _joined(problems: list[tuple[str, str]], alternatives: set[str]) -> list[tuple[str, str]]:
    """Return the problems, those of the alternatives of one option as one."""
    texts: dict[tuple[str, int], list[str]] = {}
    for number, (path, text) in enumerate(problems):
        texts.setdefault((path, -1 if path in alternatives else number), []).append(text)
    return [(path, "; or ".join(found)) for (path, _), found in texts.items()]


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100


def _shown(value: object) -> str:
    """Return a value for a message, shortened; whatever it is, this does not fail."""
    try:
        return _SHORT.repr(value)
    except Exception:  # a foreign __repr__, or an int of too many digits
        return f"a {type(value).__name__}"


def options(cls: type[Spec]) -> list[str]:
    """Return the names of the options of a spec class."""
    return list(cls.model_fields)


def slots(cls: type[Spec]) -> dict[str, str]:
    """Return the kind of each option that is a slot, by the option's name."""
    found = {name: [m for m in field.metadata if isinstance(m, Slot)] for name, field in cls.model_fields.items()}
    return {name: marks[0].kind for name, marks in found.items() if marks}


AssignerSlot = Annotated[ComponentSpec, Slot("assigner")]
SamplerSlot = Annotated[ComponentSpec, Slot("sampler")]
BackboneSlot = Annotated[ComponentSpec, Slot("backbone")]
NeckSlot = Annotated[ComponentSpec | None, Slot("neck")]
DenseHeadSlot = Annotated[ComponentSpec, Slot("dense_head")]
RoIHeadSlot = Annotated[ComponentSpec, Slot("roi_head")]
PreprocessSlot = Annotated[ComponentSpec, Slot("preprocess")]
