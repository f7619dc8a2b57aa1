"""The report of a load: a short table, and all of it as JSON."""

from __future__ import annotations

import json
import time

from zoo_core.report import WIDTH, LoadReport

WHOLE = LoadReport(
    loaded=[f"backbone.layer.{k}.weight" for k in range(288)],
    remapped={
        "neck.0.weight": "from neck.lateral_convs.0.weight",
        **{f"head.{k}.weight": "from bbox_head.fc_cls.weight, 2 of 4 rows by class" for k in range(4)},
    },
    reinitialised={"head.wide.weight": "(81, 1024) in the file, (4, 1024) here"},
    missing=["neck.a", "neck.b"],
    unexpected=[f"old.{k}" for k in range(40)],
    classes={"Car": "car", "Pedestrian": "person", "Cyclist": None},
    alike={"Car": "CAR"},
    settings={"preprocess.mean": "[1.0] in the file, [2.0] here"},
)


def test_it_is_a_table_that_fits_80_columns() -> None:
    assert str(WHOLE).splitlines() == [
        "loaded         288  as they are",
        "remapped         5  1 × another name; 4 × 2 of 4 rows by class",
        "reinitialised    1  head.wide.weight: (81, 1024) in the file, (4, 1024) here",
        "missing          2  neck.a; neck.b",
        "unexpected      40  old.0; old.1; old.2; old.3; old.4; old.5 … and 34 more",
        "classes          2  new: Cyclist; Car from car; Pedestrian from person",
        "settings         1  preprocess.mean: [1.0] in the file, [2.0] here",
        "almost the same names: map CAR=Car to go on from those classes",
    ]
    assert all(len(line) <= WIDTH for line in str(WHOLE).splitlines())


def test_what_did_not_happen_is_not_a_row() -> None:
    assert str(LoadReport(loaded=["a"])) == "loaded         1  as they are"
    assert str(LoadReport()) == "nothing was loaded"
    assert str(LoadReport(loaded=["a"], classes={"Car": None})).splitlines()[1] == "classes        0  new: Car"


def test_a_name_of_any_length_is_cut() -> None:
    report = LoadReport(unexpected=["x" * 500, "y"])
    assert len(str(report)) <= WIDTH
    assert str(report).endswith("x… and 1 more")


def test_the_line_about_names_fits_too() -> None:
    names = [f"class of things {k}" for k in range(80)]
    report = LoadReport(loaded=["a"], alike={name.title(): name for name in names})
    assert str(report).splitlines()[1:] == [
        "almost the same names: map class of things 0=Class Of Things 0 … and 79 more",
    ]


def test_any_number_of_names_is_told_at_once() -> None:
    names = [f"layer.{k}.weight" for k in range(50_000)]
    start = time.perf_counter()
    assert str(LoadReport(unexpected=names)).endswith("layer.1.weight … and 49998 more")
    assert time.perf_counter() - start < 1


def test_json_holds_all_of_it() -> None:
    assert LoadReport(**json.loads(json.dumps(WHOLE.to_json()))) == WHOLE
