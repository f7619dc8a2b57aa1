"""Options: closed, frozen, checked whole, with every mistake told at once."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, PositiveInt, ValidationError, field_validator, model_validator

from tests.core.stubs import Even, EvenSpec, FirstSpec, OverlapSpec, PlainHeadSpec, component, plain_one_stage, plain_two_stage
from zoo_core.contributions import Component
from zoo_core.detectors.specs import KeepRatioSpec, OneStageSpec, TwoStageSpec
from zoo_core.errors import BrokenPluginError, SpecError
from zoo_core.registry import contributed, find
from zoo_core.specs import ComponentSpec, NeckSlot, Slot, Spec, options, slots, spec_class, validate

pytestmark = pytest.mark.usefixtures("stubs")
Share = Annotated[float, Field(ge=0, le=1)]


class InnerSpec(Spec):
    rate: Share = 0.1
    steps: tuple[PositiveInt, ...] = (1, 2)


class OuterSpec(ComponentSpec):
    type: str = "outer"
    inner: InnerSpec = InnerSpec()
    stages: tuple[InnerSpec, ...] = ()
    by_name: dict[str, InnerSpec] = Field({})
    perhaps: InnerSpec | None = None
    threshold: Share | tuple[Share, Share] = 0.3
    neck: NeckSlot = None
    needed: int

    @model_validator(mode="after")
    def _check(self) -> OuterSpec:
        if self.needed == 13:
            raise ValueError("IoU needs another number than 13")
        return self


class StrangeSpec(ComponentSpec):
    """A stranger's checks, which are themselves not right."""

    type: str = "strange"
    sizes: tuple[int, ...] = (1,)
    word: str = "a"

    @field_validator("sizes")
    @classmethod
    def _first(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value[0] < 0:  # IndexError for an empty one
            raise ValueError
        return value

    @field_validator("word")
    @classmethod
    def _leaves(cls, value: str) -> str:
        assert value != "b"
        return value


class NestingSpec(ComponentSpec):
    type: str = "nesting"
    neck: NeckSlot = None


def problems(cls: type[Spec], **given: Any) -> tuple[tuple[str, str], ...]:
    with pytest.raises(SpecError) as error:
        validate(cls, given)
    return error.value.problems


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"needed": 1, "inner": {"rat": 1}}, [("inner", "no option 'rat'; did you mean 'rate'?")]),
        ({"needed": 1, "inner": {"rate": 2}}, [("inner.rate", "input should be less than or equal to 1, got 2")]),
        ({"needed": 1, "stages": [{}, {"rat": 1}]}, [("stages.1", "no option 'rat'; did you mean 'rate'?")]),
        (
            {"needed": 1, "stages": [{"steps": [0]}]},
            [("stages.0.steps.0", "input should be greater than 0, got 0")],
        ),
        ({"needed": 1, "by_name": {"a": {"rat": 1}}}, [("by_name.a", "no option 'rat'; did you mean 'rate'?")]),
        ({"needed": 1, "perhaps": {"zzz": 1}}, [("perhaps", "no option 'zzz'")]),
        ({}, [("needed", "is required")]),
        ({"needed": 13}, [("", "IoU needs another number than 13")]),
        ({"needed": 1, "threshold": 3}, None),
        ({"needed": 1, "neck": {"widht": 3}}, None),
        (
            {"needed": 1, "neck": {"type": "even", "widht": 3}},
            [("neck", "no option 'widht'; did you mean 'width'?")],
        ),
        (
            {"needde": 1, "neck": {"type": "even", "width": 0, "x": 1}, "inner": {"rate": -1}},
            [
                ("inner.rate", "input should be greater than or equal to 0, got -1"),
                ("neck.width", "input should be greater than 0, got 0"),
                ("neck", "no option 'x'"),
                ("needed", "is required"),
                ("", "no option 'needde'; did you mean 'needed'?"),
            ],
        ),
    ],
)
def test_every_problem_is_told_with_its_place(given: dict[str, Any], expected: list[tuple[str, str]] | None) -> None:
    found = problems(OuterSpec, **given)
    if expected is not None:
        assert list(found) == expected


def test_an_option_of_several_types_has_one_problem() -> None:
    ((path, text),) = problems(OuterSpec, needed=1, threshold=3)
    assert path == "threshold"
    assert text == "input should be less than or equal to 1, got 3; or input should be a valid tuple, got 3"


def test_a_spec_made_directly_tells_the_same() -> None:
    with pytest.raises(SpecError, match=r"^no option 'widht'; did you mean 'width'\?$"):
        EvenSpec(widht=3)  # type: ignore[call-arg]
    with pytest.raises(SpecError) as error:
        TwoStageSpec(backbone="resnet19", neck={"type": "even", "widht": 2}, proposer="plain_head", num_classes=0)  # type: ignore[call-arg, arg-type]
    assert str(error.value).splitlines() == [
        "num_classes: input should be greater than or equal to 1, got 0",
        "backbone: no backbone named 'resnet19'; did you mean 'resnet18'?",
        "neck: no option 'widht'; did you mean 'width'?",
        "roi_head: is required",
    ]


def test_a_spec_cannot_be_changed() -> None:
    spec = EvenSpec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.width = 3  # type: ignore[misc]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", 1e400])
def test_what_is_no_number_is_no_option(value: object) -> None:
    assert problems(InnerSpec, rate=value)[0][0] == "rate"
    assert problems(KeepRatioSpec, mean=(value, 1, 1))[0][0] == "mean.0"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("even", EvenSpec()),
        ({"type": "even", "width": 3}, EvenSpec(width=3)),
        (EvenSpec(width=5), EvenSpec(width=5)),
        ("local/even", EvenSpec(type="local/even")),
        ({"type": "local/even", "width": 2}, EvenSpec(type="local/even", width=2)),
    ],
)
def test_a_slot_takes_a_name_a_dict_or_a_spec(value: object, expected: ComponentSpec) -> None:
    assert Slot("neck").resolve(value) == expected
    assert NestingSpec(neck=value).neck == expected  # type: ignore[arg-type]


class SubSpec(EvenSpec):
    extra: int = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "expected a name, a dict with 'type', or a spec of a neck; got None"),
        (5, "expected a name, a dict with 'type', or a spec of a neck; got 5"),
        (["even"], "expected a name, a dict with 'type', or a spec of a neck; got ['even']"),
        ({}, "expected a name, a dict with 'type', or a spec of a neck; got {}"),
        ({"width": 3}, "expected a name, a dict with 'type', or a spec of a neck; got {'width': 3}"),
        ({"type": None}, "expected a name, a dict with 'type', or a spec of a neck; got {'type': None}"),
        ({"type": ["even"]}, "expected a name, a dict with 'type', or a spec of a neck; got {'type': ['even']}"),
        (b"even", "expected a name, a dict with 'type', or a spec of a neck; got b'even'"),
        (InnerSpec(), "expected a name, a dict with 'type', or a spec of a neck; got InnerSpec(rate=0.1, steps=(1, 2))"),
        (Even, "expected a name, a dict with 'type', or a spec of a neck; got <class 'tests.core.stubs.Even'>"),
        ({"type": "even", 5: 6}, "the name of an option is a string, not 5"),
        ({"type": "even", None: 6}, "the name of an option is a string, not None"),
        ("evne", "no neck named 'evne'; did you mean 'even'?"),
        (FirstSpec(), "no neck named 'first' ('zoo-cli list --kind neck' shows what is installed; "),
        (FirstSpec(type="even"), "neck 'even' takes a EvenSpec, not a FirstSpec"),
    ],
)
def test_a_slot_refuses_anything_else(value: object, text: str) -> None:
    with pytest.raises(SpecError) as error:
        Slot("neck").resolve(value)
    assert str(error.value).startswith(text)
    if value is not None:
        assert problems(NestingSpec, neck=value)[0][0] == "neck"


def test_a_slot_takes_a_subclass_of_its_spec() -> None:
    assert Slot("neck").resolve(SubSpec(extra=3)) == SubSpec(extra=3)


def test_an_optional_slot_takes_none() -> None:
    assert NestingSpec(neck=None).neck is None


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Unprintable(), "<Unprintable instance at"),
        (10**5000, "a int"),
        ("9" * 10**6, "'999"),
        ({str(k): k for k in range(10**4)}, "{'0': 0, '1': 1, "),
    ],
    ids=["no words", "an int", "a string", "a dict"],
)
def test_a_message_stays_short_whatever_the_value(value: object, text: str) -> None:
    ((path, message),) = problems(InnerSpec, rate=value)
    assert path == "rate"
    assert f", got {text}" in message
    assert len(message) < 300


def test_a_check_that_fails_is_told_as_such() -> None:
    assert problems(StrangeSpec, sizes=()) == (("", "StrangeSpec cannot be checked: IndexError: tuple index out of range"),)
    assert problems(StrangeSpec, sizes=(-1,)) == (("sizes", "value error, , got (-1,)"),)
    assert problems(StrangeSpec, word="b")[0][0] == "word"


def test_options_that_contain_themselves() -> None:
    with contributed(component("neck", "nesting", NestingSpec, Even)):
        assert validate(NestingSpec, {"neck": {"type": "nesting", "neck": "nesting"}}).neck is not None
        cycle: dict[str, Any] = {"type": "nesting"}
        cycle["neck"] = cycle
        deep: dict[str, Any] = {"type": "nesting"}
        for _ in range(3000):
            deep = {"type": "nesting", "neck": deep}
        for value in (cycle, deep):
            assert problems(NestingSpec, neck=value) == (("", "the options are nested too deeply, or contain themselves"),)


@pytest.mark.parametrize("spec", [plain_one_stage, plain_two_stage])
def test_a_complete_spec_survives_json(spec: Any) -> None:
    made = spec()
    data = json.loads(json.dumps(made.model_dump(mode="json")))
    assert type(made)(**data) == made
    assert type(made).model_validate_json(json.dumps(data)) == made
    assert "assigner" in json.dumps(data), "the parts of parts are written in full"


def test_json_holds_everything() -> None:
    assert plain_two_stage().model_dump(mode="json")["proposer"]["assigner"] == {
        "type": "overlap",
        "positive": 0.6,
        "negative": 0.3,
    }


@pytest.mark.parametrize("name", ["trap", "trap:Spec", "trap:Thing", "trap.Thing", "os:system", "zoo_core.specs:ComponentSpec"])
def test_a_dotted_path_is_never_imported(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('sprung')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for value in (name, {"type": name}, EvenSpec(type=name)):
        with pytest.raises(SpecError, match="no neck named"):
            Slot("neck").resolve(value)
    assert "trap" not in sys.modules


@pytest.mark.parametrize("spec", ["tests.core.stubs:Even", f"{__name__}:problems", "zoo_core.errors:SpecError"])
def test_a_part_whose_options_are_no_spec(spec: str) -> None:
    with contributed(Component("neck", "bad", spec, "tests.core.stubs:Even"), distribution="zoo-bad"):
        with pytest.raises(BrokenPluginError, match="neck 'bad' of zoo-bad 0 has for options a"):
            spec_class(find("neck", "bad"))
        with pytest.raises(SpecError, match="which is no subclass of ComponentSpec"):
            Slot("neck").resolve("bad")


def test_a_part_that_cannot_be_imported_is_told_at_its_slot() -> None:
    with contributed(Component("neck", "bad", "no_such_module:X", "no_such_module:Y"), distribution="zoo-bad"):
        ((path, text),) = problems(NestingSpec, neck="bad")
    assert path == "neck"
    assert text.startswith("neck 'bad' of zoo-bad 0 cannot be imported from no_such_module:X: ModuleNotFoundError")


def test_options_and_slots_of_a_spec() -> None:
    assert options(OneStageSpec) == ["type", "num_classes", "preprocess", "backbone", "neck", "head"]
    assert slots(OneStageSpec) == {
        "preprocess": "preprocess",
        "backbone": "backbone",
        "neck": "neck",
        "head": "dense_head",
    }
    assert slots(PlainHeadSpec) == {"assigner": "assigner", "sampler": "sampler"}
    assert slots(OverlapSpec) == {}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"short_side": 900, "long_side": 800}, "short_side 900 is longer than long_side 800"),
        ({"std": (1, 0, 1)}, "std.1: input should be greater than 0, got 0"),
        ({"long_side": 0}, "long_side: input should be greater than 0, got 0"),
        ({"mean": (1, 2)}, "mean.2: is required"),
    ],
)
def test_preprocessing_that_makes_no_sense(given: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as error:
        KeepRatioSpec(**given)
    assert str(error.value) == text
