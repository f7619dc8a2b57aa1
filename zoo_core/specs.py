"""Options as pydantic models: closed, frozen, checked before a tensor exists.

A *slot* is a field that holds the options of another part. It accepts a spec, a dict with ``type``, or a bare name, and
looks the name up in the registry, so a part of a stranger's plugin is checked like one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from zoo_core.errors import SpecError, ZooError, nearest
from zoo_core.registry import find

S = TypeVar("S", bound="Spec")


class Spec(BaseModel):
    """Options of anything. An unknown option is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ComponentSpec(Spec):
    """Options of a registered part. A subclass gives `type` its default: the name that the part is registered under."""

    type: str


class _InvalidSlotError(ValueError):
    """Carries the problems found inside a slot out through pydantic."""

    def __init__(self, error: SpecError) -> None:
        super().__init__(str(error))
        self.problems = error.problems


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
        if not isinstance(name, str):
            raise ValueError(
                f"expected a name, a dict with 'type', or a spec of a {self.kind.replace('_', ' ')}; got {value!r}"
            )
        try:
            cls = find(self.kind, name).spec()
            if isinstance(value, ComponentSpec):
                if not isinstance(value, cls):
                    raise ValueError(f"{self.kind} '{name}' takes a {cls.__name__}, not a {type(value).__name__}")
                return value
            return validate(cls, value)
        except SpecError as error:
            raise _InvalidSlotError(error) from None
        except ZooError as error:
            raise ValueError(str(error)) from None


def validate(cls: type[S], data: Mapping[str, Any]) -> S:
    """Return ``cls(**data)``, or raise a `SpecError` with every problem and the nearest right names."""
    try:
        return cls.model_validate(dict(data))
    except ValidationError as error:
        raise SpecError(list(_problems(cls, error))) from None


def _problems(cls: type[Spec], error: ValidationError) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    for item in error.errors(include_url=False):
        path = [str(step) for step in item["loc"]]
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, _InvalidSlotError):
            problems += [(".".join([*path, *([inner] if inner else [])]), text) for inner, text in cause.problems]
        elif item["type"] == "extra_forbidden":
            owner = _owner(cls, path[:-1])
            problems.append((".".join(path[:-1]), f"no option '{path[-1]}'{nearest(path[-1], options(owner))}"))
        else:
            text = str(cause) if isinstance(cause, ValueError) else f"{item['msg']}, got {item['input']!r}"
            problems.append((".".join(path), text[0].lower() + text[1:]))
    return problems


def _owner(cls: type[Spec], path: list[str]) -> type[Spec]:
    """Return the spec class at `path` below `cls`, following plain nested specs."""
    for step in path:
        field = cls.model_fields.get(step)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, Spec)):
            return cls
        cls = field.annotation
    return cls


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
