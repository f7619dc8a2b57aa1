"""From a spec to a detector."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.core.stubs import (
    Blocks,
    BlocksSpec,
    Even,
    EvenSpec,
    FirstSpec,
    PlainHead,
    PlainHeadSpec,
    PoolHead,
    PoolHeadSpec,
    component,
    plain_one_stage,
    plain_two_stage,
)
from zoo_core.build import build, build_part
from zoo_core.contributions import Component
from zoo_core.create import create
from zoo_core.detectors.detector import Detector
from zoo_core.detectors.one_stage import OneStage
from zoo_core.detectors.preprocess import KeepRatio
from zoo_core.detectors.specs import DetectorSpec
from zoo_core.detectors.two_stage import TwoStage
from zoo_core.errors import BrokenPluginError, InputError, SpecError, UnknownNameError
from zoo_core.registry import contributed
from zoo_core.specs import DenseHeadSlot

pytestmark = pytest.mark.usefixtures("stubs")


def test_a_detector_of_one_stage() -> None:
    detector = build(plain_one_stage())
    assert isinstance(detector, OneStage)
    assert [type(part) for part in (detector.preprocess, detector.backbone, detector.neck, detector.head)] == [
        *(KeepRatio, Blocks, Even, PlainHead)
    ]
    assert detector.spec == plain_one_stage()
    assert detector.class_names == ("class 0", "class 1", "class 2")
    assert detector.recipe == ""


def test_derived_numbers_are_computed() -> None:
    detector = create("plain_two_stage", num_classes=5, backbone={"width": 6}, neck={"width": 7})
    assert isinstance(detector, TwoStage)
    assert isinstance(detector.neck, Even)
    assert detector.backbone.channels == {8: 6, 16: 12}
    assert [layer.in_channels for layer in detector.neck.layers.values()] == [6, 12]
    assert detector.neck.channels == {8: 7, 16: 7}
    assert isinstance(detector.proposer, PlainHead)
    assert detector.proposer.num_classes == 1, "a proposer knows one class"
    assert [layer.in_channels for layer in detector.proposer.layers.values()] == [7, 7]
    assert isinstance(detector.roi_head, PoolHead)
    assert detector.roi_head.num_classes == 5


def test_without_a_neck_the_head_gets_the_backbones_channels() -> None:
    detector = create("plain_one_stage", neck=None, backbone={"width": 6})
    assert detector.neck is None
    assert [layer.in_channels for layer in detector.head.layers.values()] == [6, 12]  # type: ignore[union-attr]
    assert len(detector([torch.zeros(3, 20, 30, dtype=torch.uint8)])) == 1


def test_a_new_detector_fetches_its_weights_and_one_that_is_built_does_not() -> None:
    assert create("plain_one_stage").backbone.asked_for_weights == 1
    assert build(plain_one_stage()).backbone.asked_for_weights == 0


def test_the_recipes_name_stays_with_the_detector() -> None:
    assert create("plain_one_stage").recipe == "plain_one_stage"
    assert create(plain_one_stage()).recipe == ""


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"class_names": ("car", "bus")}, ("car", "bus")),
        ({"class_names": ["car"], "num_classes": 1}, ("car",)),
        ({"num_classes": 2}, ("class 0", "class 1")),
        ({}, ("class 0", "class 1", "class 2")),
    ],
)
def test_class_names_travel_with_the_model(arguments: dict[str, Any], names: tuple[str, ...]) -> None:
    detector = create("plain_one_stage", **arguments)
    assert detector.class_names == names
    assert detector.spec.num_classes == len(names)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"class_names": ("car", "bus"), "num_classes": 3}, "3 classes need as many names, got 2: car, bus"),
        ({"class_names": ("car", "car")}, "2 classes are named 'car'"),
        ({"class_names": "car"}, "class_names is a sequence of names, not one str: 'car'"),
        ({"class_names": 5}, "class_names is a sequence of names, not one int: 5"),
        ({"class_names": ("car", "")}, "the name of a class is a string that is not empty, not ''"),
        ({"class_names": ("c\x1b[2Jar",)}, r"the name of a class holds no control characters, as 'c\x1b[2Jar' does"),
        ({"class_names": ("car", 3)}, "the name of a class is a string that is not empty, not 3"),
        ({"class_names": ("car", ["bus"])}, "the name of a class is a string that is not empty, not ['bus']"),
    ],
)
def test_class_names_that_do_not_fit(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as error:
        create("plain_one_stage", **arguments)
    assert str(error.value) == text


@pytest.mark.parametrize("arguments", [{"num_classes": 0}, {"class_names": ()}, {"num_classes": -1}])
def test_no_class_at_all(arguments: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"^num_classes: input should be greater than or equal to 1, got "):
        create("plain_one_stage", **arguments)


def test_mistakes_are_found_before_a_part_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blocks, "__init__", lambda *_: pytest.fail("a backbone is made"))
    with pytest.raises(SpecError, match="roi_head: no option 'widht'"):
        create("plain_two_stage", roi_head={"widht": 3})
    with pytest.raises(UnknownNameError, match=r"did you mean 'plain_one_stage'\?"):
        create("plain_one_stag")


def test_what_is_no_detectors_spec() -> None:
    with pytest.raises(InputError, match="a detector is built from a DetectorSpec, not from a EvenSpec"):
        build(EvenSpec())


def test_a_part_of_its_own_kind() -> None:
    neck = build_part("neck", EvenSpec(width=3), {8: 2})
    assert isinstance(neck, Even)
    assert neck.channels == {8: 3}
    with pytest.raises(UnknownNameError, match="no neck named 'first'"):
        build_part("neck", FirstSpec())


class Refusing(Even):
    def __init__(self, spec: EvenSpec, channels: dict[int, int]) -> None:
        raise InputError(f"neck 'refusing' takes no maps of strides {list(channels)}")


class Failing(Even):
    def __init__(self, spec: EvenSpec, channels: dict[int, int]) -> None:
        super().__init__(spec, {4: channels[4]})


def test_a_part_that_refuses_speaks_for_itself() -> None:
    part = component("neck", "refusing", EvenSpec, Refusing)
    with contributed(part), pytest.raises(InputError, match=r"^neck 'refusing' takes no maps of strides \[8, 16\]$"):
        create("plain_one_stage", neck="refusing")


def test_a_part_that_fails_is_named() -> None:
    part, text = (
        component("neck", "failing", EvenSpec, Failing),
        "neck 'failing' cannot be built with these options: KeyError: 4",
    )
    with contributed(part), pytest.raises(InputError, match=f"^{text}$"):
        create("plain_one_stage", neck="failing")


class Talkative(Even):
    def __init__(self, spec: EvenSpec, channels: dict[int, int]) -> None:
        raise TypeError("too large\nException raised from unpack at /somewhere/in/C++")


def test_of_a_failure_the_first_line_is_told() -> None:
    part = component("neck", "talkative", EvenSpec, Talkative)
    with contributed(part), pytest.raises(InputError, match=r"^neck 'talkative' cannot be built .*: TypeError: too large\Z"):
        create("plain_one_stage", neck="talkative")


class Leaving(Even):
    def __init__(self, spec: EvenSpec, channels: dict[int, int]) -> None:
        raise SystemExit(0)


def test_a_part_that_leaves_the_program_is_a_part_that_fails() -> None:
    part = component("neck", "leaving", EvenSpec, Leaving)
    with contributed(part), pytest.raises(InputError, match=r"^neck 'leaving' cannot be built .*: SystemExit: 0$"):
        create("plain_one_stage", neck="leaving")


@pytest.mark.parametrize("width", [10**15, 10**30])
def test_an_option_that_takes_all_memory(width: int) -> None:
    with pytest.raises(InputError, match=r"^backbone 'blocks' cannot be built with these options: "):
        create("plain_one_stage", backbone={"width": width})


def test_a_part_whose_module_is_broken() -> None:
    part = Component("neck", "bad", "tests.core.stubs:EvenSpec", "no_such_module:Neck")
    with (
        contributed(part, distribution="zoo-bad"),
        pytest.raises(BrokenPluginError, match=r"^neck 'bad' of zoo-bad 0 cannot be"),
    ):
        create("plain_one_stage", neck="bad")


def test_the_same_seed_gives_the_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(4)
        states.append(create("plain_two_stage").state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


class TripleSpec(DetectorSpec):
    type: str = "triple"
    first: DenseHeadSlot


class Triple(Detector):
    """A shape that the core does not know, with a part of its own."""

    def __init__(self, spec: Any, class_names: Any, *, preprocess: Any, backbone: Any, neck: Any) -> None:
        super().__init__(spec, class_names)
        self.preprocess, self.backbone, self.neck = preprocess, backbone, neck
        self.first = build_part("dense_head", spec.first, neck.channels, spec.num_classes)

    def losses(self, batch: Any) -> Any:
        return self.first.losses(self.first(self.features(batch)), batch)

    def detect(self, batch: Any) -> Any:
        return self.first.decode(self.first(self.features(batch)), batch)


def test_a_shape_of_a_plugin() -> None:
    with contributed(component("assembly", "triple", TripleSpec, Triple)):
        detector = create(TripleSpec(backbone=BlocksSpec(), neck=EvenSpec(), first=PlainHeadSpec()), num_classes=2)
        assert isinstance(detector, Triple)
        assert len(detector([torch.zeros(3, 20, 30, dtype=torch.uint8)])) == 1


def test_a_slot_may_be_replaced_by_a_spec() -> None:
    detector = create(plain_two_stage(), roi_head=PoolHeadSpec(width=3))
    assert detector.roi_head.hidden.out_features == 3  # type: ignore[union-attr]
