"""New detectors that begin with weights: tags of a recipe, folders, models on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from tests.core.stubs import STUBS
from tests.hub.server import Hub
from zoo_core import hub, registry
from zoo_core.create import create
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, HubError, SpecError
from zoo_core.push import push

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's client
NAMES = ("person", "car")
TAGS = MappingProxyType({"coco": "org/published@v1", "toy": "org/gone"})


@pytest.fixture(autouse=True)
def tagged(bare: None) -> Iterator[None]:
    (recipe,) = [part for part in STUBS if part.name == "plain_one_stage"]
    with registry.contributed(*(part for part in STUBS if part is not recipe), replace(recipe, weights=TAGS)):  # type: ignore[arg-type]
        yield


@pytest.fixture
def model() -> Detector:
    torch.manual_seed(0)
    return create("plain_one_stage", class_names=NAMES)


def same(one: Detector, other: Detector) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_a_tag_of_the_recipe_leads_to_the_published_weights(model: Detector, server: Hub) -> None:
    push(model, "org/published", revision="v1")
    found = create("plain_one_stage", weights="coco")
    assert same(found, model)
    assert found.class_names == NAMES
    assert found.report is not None
    assert set(found.report.loaded) == set(model.state_dict())
    with pytest.raises(HubError, match="no repository 'org/gone'"):
        create("plain_one_stage", weights="toy")


def test_a_tag_goes_before_a_folder_of_its_name(
    model: Detector, server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(model, "org/published", revision="v1")
    monkeypatch.chdir(tmp_path)
    folder = hub.save(create("plain_one_stage", class_names=("dog",)), "coco")
    assert create("plain_one_stage", weights="coco").class_names == NAMES
    assert create("plain_one_stage", weights=Path("coco")).class_names == ("dog",)
    assert create("plain_one_stage", weights="./coco").class_names == ("dog",)
    folder.rename("other")
    assert create("plain_one_stage", weights="other").class_names == ("dog",)
    assert server.url


def test_what_is_no_tag(model: Detector) -> None:
    with pytest.raises(CheckpointError) as caught:
        create("plain_one_stage", weights="cocoo")
    assert str(caught.value) == "'cocoo' is no tag of weights of 'plain_one_stage', and no folder or file; did you mean 'coco'?"
    with pytest.raises(CheckpointError, match=r"no folder or file \('plain_one_stage' has the tags coco, toy\)"):
        create("plain_one_stage", weights="x")
    with pytest.raises(CheckpointError, match=r"no folder or file \('plain_two_stage' has no tags\)"):
        create("plain_two_stage", weights="coco")
    with pytest.raises(CheckpointError, match="'coco' is no tag of weights of this detector"):
        create(model.spec, weights="coco")


def test_options_that_are_wrong_are_told_before_anything_is_fetched(model: Detector, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no option 'widht'"):
        create("plain_one_stage", weights=hub.save(model, tmp_path / "x"), neck={"widht": 3})


def test_the_report_tells_settings_that_differ(model: Detector, tmp_path: Path) -> None:
    found = create("plain_one_stage", weights=hub.save(model, tmp_path / "x"), preprocess={"long_side": 320, "short_side": 320})
    assert found.report is not None
    assert found.report.settings == {
        "preprocess.long_side": f"{model.spec.preprocess.long_side} in the file, 320 here",  # type: ignore[attr-defined]
        "preprocess.short_side": f"{model.spec.preprocess.short_side} in the file, 320 here",  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("weights", [[], {}, ("a",), 5, "x" * 300])
def test_weights_that_are_none(weights: Any) -> None:
    with pytest.raises(CheckpointError, match="is no "):
        create("plain_one_stage", weights=weights)
