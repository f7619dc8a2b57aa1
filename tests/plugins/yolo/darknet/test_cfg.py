from __future__ import annotations

from pathlib import Path

import pytest

from zoo_core.errors import DataError
from zoo_yolo.darknet.cfg import MOST_BYTES, MOST_SECTIONS, read_cfg


def cfg(folder: Path, text: str | bytes) -> Path:
    path = folder / "net.cfg"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_sections_options_and_lines(tmp_path: Path) -> None:
    text = "\ufeff# a network\n[net]\nwidth = 3 2 # pixels\n; nothing\n\n[conv]\r\nfilters=8\nfilters=8\nsize=\t3,\n[max]\n"
    net, conv, pool = read_cfg(cfg(tmp_path, text))
    assert [(section.name, section.line) for section in (net, conv, pool)] == [
        ("net", 2),
        ("convolutional", 6),
        ("maxpool", 10),
    ]
    assert net.options == {"width": ("32", 3)}
    assert conv.integer("filters") == 8
    assert conv.integers("size") == (3,)
    assert pool.integer("stride", 2) == 2


def test_numbers(tmp_path: Path) -> None:
    text = "[net]\na=.5, 1.,-2e-1,+3\nb=7\n[conv]\n"
    net = read_cfg(cfg(tmp_path, text))[0]
    assert net.numbers("a") == (0.5, 1.0, -0.2, 3.0)
    assert (net.integer("b"), net.number("b"), net.number("c", 0.25)) == (7, 7.0, 0.25)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "net.cfg: the file is empty"),
        ("# nothing\n\n", "net.cfg: the file is empty"),
        ("width=3\n[net]\n", r"line 1: expected a section such as \[net\], got 'width=3'"),
        ("[net]\nwidth=3\n", r"net.cfg: there is no layer after \[net\]; is the file truncated\?"),
        ("[conv]\n[net]\n", r"line 1: the first section must be \[net\], not \[convolutional\]"),
        ("[net]\n[convolutionl]\n", r"line 2: no section \[convolutionl\]; did you mean 'convolutional'\?"),
        ("[net]\n[lstm]\n", r"line 2: no section \[lstm\]; there are \[net\], \[convolutional\]"),
        ("[net]\n[convo", r"line 2: '\[convo' has no closing bracket; is the file truncated\?"),
        ("[net]\nwidth\n[conv]", "line 2: expected name = value, got 'width'"),
        ("[net]\nwidth=\n[conv]", "line 2: expected name = value, got 'width='"),
        ("[net]\n=3\n[conv]", "line 2: expected name = value, got '=3'"),
        (b"[net]\0[conv]\n", "net.cfg: is no text of a Darknet .cfg"),
        (b"#" * (MOST_BYTES + 1), "net.cfg: is no text of a Darknet .cfg"),
        ("[net]\n" * (MOST_SECTIONS + 2), f"line {MOST_SECTIONS + 1}: more than 10,000 sections"),
    ],
)
def test_text_that_is_no_network(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_cfg(cfg(tmp_path, text))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("three", r"line 3: \[convolutional\]: filters: 'three' is not a whole number"),
        ("3.5", "filters: '3.5' is not a whole number"),
        ("1_0", "filters: '1_0' is not a whole number"),
        ("٣", "filters: '٣' is not a whole number"),
        ("9" * 5000, "filters: '9{40}' is not a whole number"),
        (",", "filters: '' is not a whole number"),
        ("1,2", "filters takes one number, got 2"),
        ("65537", "filters must lie in 0 … 65,536, got 65,537"),
        ("-1", "filters must lie in 0 … 65,536, got -1"),
        ("1\nfilters=2", "line 3: .*'filters' is given again, with another value, in line 4"),
    ],
)
def test_whole_numbers_that_are_none(tmp_path: Path, value: str, told: str) -> None:
    conv = read_cfg(cfg(tmp_path, f"[net]\n[conv]\nfilters={value}"))[1]
    with pytest.raises(DataError, match=told):
        conv.integer("filters")


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "0x10", "1.2.3", "e5", "--1", "."])
def test_numbers_that_are_none(tmp_path: Path, value: str) -> None:
    conv = read_cfg(cfg(tmp_path, f"[net]\n[conv]\nscale={value}"))[1]
    with pytest.raises(DataError, match=f"line 3: .*scale: '{value}' is not a number"):
        conv.number("scale")


def test_an_option_that_is_missing(tmp_path: Path) -> None:
    conv = read_cfg(cfg(tmp_path, "[net]\n[conv]\n"))[1]
    with pytest.raises(DataError, match=r"line 2: \[convolutional\]: 'filters' is missing; is the file truncated\?"):
        conv.integer("filters")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.cfg: cannot be read: No such file"):
        read_cfg(tmp_path / "none.cfg")
