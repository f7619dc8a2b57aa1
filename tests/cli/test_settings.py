"""--set KEY=VALUE: how values are read and how paths nest."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from zoo_cli.settings import nested, setting


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("neck.width=128", ("neck", "width"), 128),
        ("train.learning_rate=1e-2", ("train", "learning_rate"), 0.01),
        ("neck.strides=[8, 16]", ("neck", "strides"), [8, 16]),
        ("backbone=resnet50", ("backbone",), "resnet50"),
        ("backbone.weights=a=b.pth", ("backbone", "weights"), "a=b.pth"),
        ("roi_head.border=null", ("roi_head", "border"), None),
        ("a=true", ("a",), True),
        ('a="1"', ("a",), "1"),
        ("a=", ("a",), ""),
    ],
)
def test_a_value_is_json_or_else_text(text, path, value) -> None:
    assert setting(text) == (path, value)


@pytest.mark.parametrize("text", ["neck.width", "=1", "neck..width=1", ".a=1"])
def test_what_is_no_setting(text) -> None:
    with pytest.raises(ArgumentTypeError, match="is not of the form KEY=VALUE"):
        setting(text)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["neck.width=1", "neck.strides=[8]"], {"neck": {"width": 1, "strides": [8]}}),
        (["a.b.c=1", "a.b.d=2", "a.e=3"], {"a": {"b": {"c": 1, "d": 2}, "e": 3}}),
        (["a=1", "a=2"], {"a": 2}),
        (["backbone=resnet50", "backbone.weights=F"], {"backbone": {"type": "resnet50", "weights": "F"}}),
        (["backbone.weights=F", "backbone=resnet50"], {"backbone": {"weights": "F", "type": "resnet50"}}),
        (["neck.width=1", "neck=null"], {"neck": None}),
    ],
)
def test_paths_nest(texts, expected) -> None:
    assert nested(setting(text) for text in texts) == expected
