"""Which classes an evaluation is of."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from zoo_cli.commands.eval import read_for

LINE = "{} 0.00 0 1.55 10 20 60 50 1 1 1 1 1 1 0\n"


@pytest.fixture
def arguments(tmp_path: Path) -> Namespace:
    for folder in ("image_2", "label_2"):
        (tmp_path / "training" / folder).mkdir(parents=True)
    Image.new("RGB", (100, 80)).save(tmp_path / "training/image_2/a.png")
    (tmp_path / "training/label_2/a.txt").write_text(LINE.format("Car") + LINE.format("Van") + LINE.format("Cyclist"))
    (tmp_path / "val.txt").write_text("a\n")
    return Namespace(data=str(tmp_path), split="val", format=None, classes=None, skip_bad=None, class_map={})


def test_the_models_classes_count_and_others_become_ignore_regions(arguments, capsys) -> None:
    data = read_for(SimpleNamespace(class_names=("Cyclist", "Car", "Dog")), arguments)  # type: ignore[arg-type]
    assert data.class_names == ("Car", "Cyclist")
    assert (len(data[0].targets), len(data[0].targets.ignored)) == (2, 1)
    assert "on the model's classes (Car, Cyclist); objects of others count as ignore regions" in capsys.readouterr().err


def test_classes_that_are_asked_for_hold(arguments) -> None:
    arguments.classes = ["Van"]
    assert read_for(SimpleNamespace(class_names=("Car",)), arguments).class_names == ("Van",)  # type: ignore[arg-type]


def test_a_model_that_knows_all_is_measured_on_all(arguments, capsys) -> None:
    data = read_for(SimpleNamespace(class_names=("Car", "Van", "Cyclist")), arguments)  # type: ignore[arg-type]
    assert data.class_names == ("Car", "Van", "Cyclist")
    assert capsys.readouterr().err == ""
