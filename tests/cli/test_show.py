"""zoo-cli show: the settings of a recipe, the options of a part."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from pydantic import Field, PositiveInt

from zoo_cli.commands import show
from zoo_core.contributions import Component, Family, Recipe
from zoo_core.registry import contributed, find
from zoo_core.specs import ComponentSpec, NeckSlot, Spec


class SmallNeckSpec(ComponentSpec):
    type: str = "small_neck"
    width: PositiveInt = Field(64, description="channels of every map")
    strides: tuple[Annotated[int, Field(gt=0)], ...] = (8, 16)
    mode: Literal["sum", "mean"] = "sum"
    depth: int


class InnerSpec(Spec):
    rate: float = Field(0.1, description="of something, told in " + "very many words " * 9)


class WholeSpec(ComponentSpec):
    type: str = "whole"
    neck: NeckSlot = None
    inner: InnerSpec = InnerSpec()
    stages: tuple[InnerSpec, ...] = (InnerSpec(), InnerSpec(rate=0.2))


def whole() -> WholeSpec:
    return WholeSpec(neck=SmallNeckSpec(depth=2))


def offers(name: str) -> bool:
    return name in names()


def names() -> list[str]:
    return ["exotic_small", "exotic_large"]


PARTS = (
    Component("neck", "small_neck", f"{__name__}:SmallNeckSpec", f"{__name__}:SmallNeckSpec", "a small neck"),
    Recipe("detector", "whole", f"{__name__}:whole", "a whole detector"),
    Recipe("detector", "known", f"{__name__}:whole", weights={"coco": "org/whole@v1", "voc": "org/voc"}),
    Component("assembly", "whole", f"{__name__}:WholeSpec", f"{__name__}:WholeSpec"),
    Family(
        "backbone",
        "exotics",
        f"{__name__}:SmallNeckSpec",
        "nowhere:T",
        f"{__name__}:offers",
        f"{__name__}:names",
        "exotic ones",
    ),
)


@pytest.fixture(autouse=True)
def parts():
    with contributed(*PARTS):
        yield


def test_a_part_is_a_table_of_its_options(cli) -> None:
    assert cli("show", "small_neck").out.splitlines() == [
        "small_neck: a small neck",
        f"neck of local 0 ({__name__}:SmallNeckSpec)",
        "",
        "OPTION   TYPE            DEFAULT     MEANING",
        "width    int > 0         64          channels of every map",
        "strides  list of int     [8, 16]",
        "mode     'sum' | 'mean'  sum",
        "depth    int             (required)",
    ]


def test_a_recipe_is_a_tree_of_its_settings(cli) -> None:
    out = cli("show", "whole", "--kind", "detector").out
    lines = [line.partition("#")[0].rstrip() for line in out.splitlines()]
    assert lines[:17] == [
        "whole: a whole detector",
        f"detector of local 0 ({__name__}:whole)",
        "",
        "type: whole",
        "neck:",
        "  type: small_neck",
        "  width: 64",
        "  strides: [8, 16]",
        "  mode: sum",
        "  depth: 2",
        "inner:",
        "  rate: 0.1",
        "stages[0]:",
        "  rate: 0.1",
        "stages[1]:",
        "  rate: 0.2",
        "",
    ]
    assert "  width: 64  # channels of every map" in out
    assert "--set KEY=VALUE" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_name_in_two_kinds_is_shown_twice(cli) -> None:
    out = cli("show", "whole").out
    assert "detector of local" in out
    assert "assembly of local" in out
    assert "a part of 'zoo-cli list --kind neck'" in " ".join(out.split())
    assert (
        cli("show", "whole", "--json").err
        == "zoo-cli: error: 'whole' is several things: detector and assembly; choose one with --kind\n"
    )


def test_json(cli) -> None:
    recipe = json.loads(cli("show", "local/whole", "--kind", "detector", "--json").out)
    assert (recipe["kind"], recipe["type"], recipe["distribution"]) == ("detector", "recipe", "local")
    assert recipe["spec"]["neck"] == {"type": "small_neck", "width": 64, "strides": [8, 16], "mode": "sum", "depth": 2}
    part = json.loads(cli("show", "small_neck", "--json").out)
    assert part["options"][0] == {
        **{"name": "width", "type": "int > 0", "default": 64, "required": False, "meaning": "channels of every map"}
    }
    assert part["options"][3]["required"]


def test_a_name_of_a_family(cli) -> None:
    assert cli("show", "exotic_small").out.startswith("exotic_small: exotic ones\nbackbone of local 0")
    assert json.loads(cli("show", "exotic_small", "--json").out)["family"] is False


def test_a_family_itself(cli) -> None:
    out = cli("show", "exotics").out
    assert out.startswith("exotics: exotic ones\n")
    assert "none of which is called 'exotics'" in out
    assert max(map(len, out.splitlines())) <= 80
    assert json.loads(cli("show", "local/exotics", "--json").out)["family"] is True


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smal_neck", "nothing is named 'smal_neck'; did you mean 'small_neck'?"),
        ("exotic_smal", "nothing is named 'exotic_smal'; did you mean 'exotic_small'?"),
        ("zzzz", "nothing is named 'zzzz' (zoo-cli list shows all)"),
    ],
)
def test_a_name_that_is_not_there(cli, name, message) -> None:
    outcome = cli("show", name)
    assert outcome.status == 2
    assert outcome.err.startswith(f"zoo-cli: error: {message}")


def test_the_kind_is_respected(cli) -> None:
    assert "no neck named 'whole'" in cli("show", "whole", "--kind", "neck").err


def test_the_training_that_a_recipe_is_published_with(cli) -> None:
    lines = cli("show", "yolov5n").out.splitlines()
    start = lines.index("Its training, as published:")
    assert "train.momentum: 0.937" in lines[start:]
    assert "train.augment.mosaic: 1.0" in lines[start:]
    assert json.loads(cli("show", "yolov5n", "--json").out)["training"]["augment"]["scale"] == [0.5, 1.5]
    assert "as published" not in cli("show", "faster_rcnn_r50_fpn").out


def test_the_weights_that_a_recipe_has_tags_for(cli) -> None:
    lines = cli("show", "known").out.splitlines()
    start = lines.index("Weights to begin with, by tag (--weights TAG):")
    assert lines[start + 1 : start + 4] == ["coco: org/whole@v1", "voc: org/voc", ""]
    assert json.loads(cli("show", "known", "--json").out)["weights"] == {"coco": "org/whole@v1", "voc": "org/voc"}
    assert "by tag" not in cli("show", "whole", "--kind", "detector").out
    assert json.loads(cli("show", "local/whole", "--kind", "detector", "--json").out)["weights"] == {}


def test_families_are_not_asked_for_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """They import their library, which takes seconds."""
    asked: list[str] = []

    monkeypatch.setattr(show, "find", lambda kind, name: (asked.append(name), find(kind, name))[1])
    assert show.everywhere("runs/first") == []
    assert show.everywhere("./x") == []
    assert not asked
    assert [entry.plugin.distribution for entry in show.everywhere("zoo-timm/resnet18")] == ["zoo-timm"]
