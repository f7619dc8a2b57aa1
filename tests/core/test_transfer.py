"""The weights of a saved detector in another one: what is taken, by what name, and what the report says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.core.stubs import Blocks, BlocksSpec
from zoo_core import hub, transfer
from zoo_core.create import create
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError
from zoo_core.interfaces import BACKGROUND
from zoo_core.transfer import carry, carry_over, paired

pytestmark = pytest.mark.usefixtures("stubs")
COCO = ("person", "car", "dog", "Cyclist")
KITTI = ("Car", "Cyclist", "Pedestrian", "Tram")
MAP = {"car": "Car", "person": "Pedestrian"}


def model_of(recipe: str, names: tuple[str, ...], seed: int, **options: object) -> Detector:
    torch.manual_seed(seed)
    return create(recipe, class_names=names, **options)


@pytest.fixture(params=["plain_one_stage", "plain_two_stage"])
def recipe(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def saved(recipe: str, tmp_path: Path) -> Path:
    return hub.save(model_of(recipe, COCO, 1), tmp_path / "saved")


def test_the_same_classes_take_everything_as_it_is(recipe: str, saved: Path) -> None:
    model = model_of(recipe, COCO, 2)
    report = carry_over(model, saved)
    assert set(report.loaded) == set(model.state_dict())
    assert [report.remapped, report.reinitialised, report.missing, report.unexpected] == [{}, {}, [], []]
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in load_file(saved / hub.WEIGHTS).items())


def test_rows_follow_the_names_of_the_classes(recipe: str, saved: Path) -> None:
    model, fresh = model_of(recipe, KITTI, 2), model_of(recipe, KITTI, 2)
    report = carry_over(model, saved, MAP)
    there, before = load_file(saved / hub.WEIGHTS), fresh.state_dict()
    assert set(report.remapped) == set(model.class_rows())
    for name, rows in model.class_rows().items():
        found = model.state_dict()[name]
        for label, old in ((0, 1), (1, 3), (2, 0)):  # Car, Cyclist, Pedestrian
            assert torch.equal(found[label], there[name][old])
        assert torch.equal(found[3], before[name][3])  # the tram is new
        assert torch.equal(found[rows < 0], there[name][4:])  # boxes and background belong to all
    others = [name for name in there if name not in report.remapped]
    assert sorted(report.loaded) == sorted(others)
    assert all(torch.equal(model.state_dict()[name], there[name]) for name in others)
    assert report.classes == {"Car": "car", "Cyclist": "Cyclist", "Pedestrian": "person", "Tram": None}


def test_names_that_are_almost_the_same_are_told(saved: Path, recipe: str) -> None:
    report = carry_over(model_of(recipe, ("Car", "cyclist", "Van"), 2), saved)
    assert report.alike == {"Car": "car", "cyclist": "Cyclist"}
    assert "almost the same names: map car=Car,Cyclist=cyclist" in str(report)
    assert carry_over(model_of(recipe, ("Car", "Van"), 2), saved, {"car": "Car"}).alike == {}


def test_a_class_that_goes_on_already_is_not_one_of_almost_the_same_name(saved: Path, recipe: str) -> None:
    assert carry_over(model_of(recipe, ("Car", "Van"), 2), saved, {"car": "Van"}).alike == {}
    assert carry_over(model_of(recipe, ("Car", "car"), 2), saved).alike == {}
    assert carry_over(model_of(recipe, ("Car", "CAR"), 2), saved).alike == {"Car": "car"}  # a map has each name once
    numbers = hub.save(create(recipe, num_classes=4), saved.with_name("numbers"))
    assert carry_over(create(recipe, num_classes=2), numbers).alike == {}


def test_classes_whose_rows_do_not_fit_do_not_go_on(tmp_path: Path) -> None:
    saved = hub.save(model_of("plain_two_stage", COCO, 1), tmp_path / "saved")
    report = carry_over(model_of("plain_two_stage", KITTI, 2, roi_head={"width": 12}), saved, MAP)
    assert "roi_head.output.weight" in report.reinitialised
    assert "roi_head.output.bias" in report.remapped
    assert report.classes == dict.fromkeys(KITTI)


@pytest.mark.parametrize("of_one_alone", [True, False])
def test_as_many_rows_that_mean_something_else_are_not_taken(saved: Path, recipe: str, of_one_alone: bool) -> None:
    model = model_of(recipe, COCO, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with transfer.saved(saved) as source:
        other = {name: rows.clamp(max=1) for name, rows in source.class_rows.items()}
        report = carry(model, replace(source, class_rows={} if of_one_alone else other), {})
    assert set(report.reinitialised) == set(model.class_rows())
    assert set(report.reinitialised.values()) == {"its rows are of classes in another way than here"}
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in model.class_rows())
    assert report.classes == dict.fromkeys(COCO)


def test_the_same_names_in_another_order_are_other_rows(saved: Path, recipe: str) -> None:
    model = model_of(recipe, COCO[::-1], 2)
    report = carry_over(model, saved)
    there = load_file(saved / hub.WEIGHTS)
    assert report.remapped
    for name in report.remapped:
        assert torch.equal(model.state_dict()[name][:4], there[name][:4].flip(0))


def test_another_number_of_classes(saved: Path, recipe: str) -> None:
    model = model_of(recipe, ("dog",), 2)
    carry_over(model, saved)
    there = load_file(saved / hub.WEIGHTS)
    for name in model.class_rows():
        assert torch.equal(model.state_dict()[name][0], there[name][2])
        assert torch.equal(model.state_dict()[name][1:], there[name][4:])


def test_what_does_not_fit_is_told(saved: Path, recipe: str) -> None:
    model = model_of(recipe, COCO, 2, backbone={"width": 6})
    report = carry_over(model, saved)
    assert report.reinitialised["backbone.fine.weight"] == "(4, 3, 8, 8) in the file, (6, 3, 8, 8) here"
    assert not set(report.reinitialised) & set(report.loaded)
    assert "backbone.fine.weight: (4, 3, 8, 8) in the file" in str(report)
    json.dumps(report.to_json())


def test_tensors_of_one_side_alone_are_told(tmp_path: Path) -> None:
    saved = hub.save(model_of("plain_one_stage", COCO, 1), tmp_path / "saved")
    model = model_of("plain_two_stage", COCO, 2)
    report = carry_over(model, saved)
    assert "roi_head.output.weight" in report.missing
    assert "head.layers.8.weight" in report.unexpected
    assert "backbone.fine.weight" in report.loaded


def test_a_part_may_compute_while_it_is_built(saved: Path, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Blocks.__init__

    def computing(self: Blocks, spec: BlocksSpec) -> None:
        genuine(self, spec)
        self.rates = [float(rate) for rate in torch.linspace(0, 1, 4)]

    monkeypatch.setattr(Blocks, "__init__", computing)
    assert carry_over(model_of(recipe, COCO, 2), saved).loaded


def test_a_saved_model_whose_classes_have_one_name(saved: Path, recipe: str) -> None:
    config = json.loads((saved / hub.CONFIG).read_text()) | {"class_names": ["car", "car", "dog", "van"]}
    (saved / hub.CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json: 2 classes are named 'car'"):
        carry_over(model_of(recipe, KITTI, 2), saved)


def test_a_file_of_which_nothing_fits(saved: Path, recipe: str) -> None:
    with transfer.saved(saved) as source:
        others = replace(source, names={f"other.{name}" for name in source.names})
        with pytest.raises(CheckpointError, match=r"not one tensor of .* fits this model: it is of another network"):
            carry(model_of(recipe, COCO, 2), others, {})


def test_the_counts_of_batch_norms_fit_any_network(saved: Path, recipe: str) -> None:
    model = model_of(recipe, COCO, 2)
    model.register_buffer("count", torch.tensor(0))
    with transfer.saved(saved) as source:
        counts = replace(source, names={"count"}, tensor=lambda name: torch.tensor(5))
        with pytest.raises(CheckpointError, match="it is of another network\nmissing "):
            carry(model, counts, {})


def test_values_that_are_not_finite(saved: Path, recipe: str) -> None:
    tensors = load_file(saved / hub.WEIGHTS)
    tensors["backbone.fine.bias"][0] = float("nan")
    save_file(tensors, saved / hub.WEIGHTS)
    with pytest.raises(CheckpointError, match=r"backbone.fine.bias holds values that are not finite"):
        carry_over(model_of(recipe, COCO, 2), saved)


def test_rows_that_the_config_tells_otherwise(saved: Path, recipe: str) -> None:
    model = model_of(recipe, KITTI, 2)
    name = next(iter(model.class_rows()))
    tensors = load_file(saved / hub.WEIGHTS)
    save_file({**tensors, name: tensors[name][:2].clone()}, saved / hub.WEIGHTS)
    due = rf"does not fit its config.json: {re.escape(name)} has shape \(2, .*\), expected"
    with pytest.raises(CheckpointError, match=due):
        carry_over(model, saved)


@pytest.mark.parametrize(
    ("class_map", "text"),
    [
        ({"cra": "Car"}, r"class map cra=Car: the saved model has no class 'cra'; did you mean 'car'\?"),
        ({"car": "Cra"}, r"class map car=Cra: this model has no class 'Cra'; did you mean 'Car'\?"),
        ({"car": "Car", "dog": "Car"}, "class map: both 'car' and 'dog' are to become 'Car'; choose one"),
    ],
)
def test_a_map_that_cannot_be(class_map: dict[str, str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        paired(COCO, KITTI, class_map)


@pytest.mark.parametrize("class_map", [[("car", "Car")], "car=Car", {1: "Car"}, {"car": 0}])
def test_what_is_no_map(class_map: Any) -> None:
    with pytest.raises(InputError, match="a class map is a dict from names to names"):
        paired(COCO, KITTI, class_map)


def test_one_class_may_become_two() -> None:
    with pytest.raises(InputError, match="no class 'Tarm'; did you mean 'Tram'"):
        paired(COCO, KITTI, {"car": "Tarm"})
    assert paired(COCO, ("car", "person"), {"person": "car"}) == {"car": 0, "person": 0}


def test_create_with_weights(saved: Path, recipe: str) -> None:
    there = load_file(saved / hub.WEIGHTS)
    same = create(recipe, weights=saved)
    assert same.class_names == COCO
    assert torch.equal(same.state_dict()["backbone.fine.weight"], there["backbone.fine.weight"])
    other = create(recipe, weights=str(saved), class_names=KITTI, class_map=MAP)
    name = next(iter(other.class_rows()))
    assert torch.equal(other.state_dict()[name][0], there[name][1])
    assert other.backbone.asked_for_weights == 0
    with pytest.raises(CheckpointError, match="no such folder"):
        create(recipe, weights=saved / "nowhere")
    with pytest.raises(CheckpointError, match="7 is no folder"):
        create(recipe, weights=7)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="class_map says which classes of a saved detector"):
        create(recipe, class_names=KITTI, class_map=MAP)


def test_a_detector_is_told_what_its_head_says() -> None:
    assert set(create("plain_one_stage").class_rows()) == {
        f"head.layers.{stride}.{leaf}" for stride in (8, 16) for leaf in ("weight", "bias")
    }
    assert set(create("plain_two_stage").class_rows()) == {"roi_head.output.weight", "roi_head.output.bias"}


def test_classes_without_names_are_the_same_only_if_as_many() -> None:
    two, three = ("class 0", "class 1"), ("class 0", "class 1", "class 2")
    assert paired(two, two, {}) == {"class 0": 0, "class 1": 1}
    assert paired(("cat", "dog"), two, {}) == {"class 0": 0, "class 1": 1}
    assert paired(two, ("cat", "dog"), {}) == {"cat": 0, "dog": 1}
    assert paired(three, two, {}) == {"class 0": None, "class 1": None}
    assert paired(("cat", "dog"), three, {}) == dict.fromkeys(three)
    assert paired(three, ("cat", "dog"), {"class 2": "cat"}) == {"cat": 2, "dog": None}


@pytest.mark.parametrize("names", [("x", "y"), ("x", "dog")])
def test_the_background_comes_with_a_class_and_not_alone(
    tmp_path: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(self: Any) -> dict[str, torch.Tensor]:
        labels = torch.tensor([*range(self.num_classes), *[BACKGROUND] * 5])
        return {"output.weight": labels, "output.bias": labels}

    saved = hub.save(model_of("plain_two_stage", COCO, 1), tmp_path / "saved")
    model = model_of("plain_two_stage", names, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    monkeypatch.setattr(type(model.roi_head), "class_rows", rows)
    report, there = carry_over(model, saved), load_file(saved / hub.WEIGHTS)
    for name in model.class_rows():
        if "dog" in names:
            assert report.remapped[name] == "6 of 7 rows by class"
            assert torch.equal(model.state_dict()[name][1:], there[name][[2, 4, 5, 6, 7, 8]])
        else:
            assert report.reinitialised[name] == "no class of the file is one of this model"
            assert torch.equal(model.state_dict()[name], before[name])


def test_weights_that_are_not_those_of_their_config_are_not_looked_at(tmp_path: Path) -> None:
    """The config may claim more rows of classes than there is memory."""
    saved = hub.save(model_of("plain_one_stage", COCO, 1), tmp_path / "saved")
    path = saved / hub.CONFIG
    config = json.loads(path.read_text())
    config["spec"]["num_classes"], config["class_names"] = 90_000, [f"class {k}" for k in range(90_000)]
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"does not fit its config.json: head.layers.8.weight has shape \(8, 8, 1, 1\)"):
        carry_over(model_of("plain_one_stage", COCO, 2), saved)
