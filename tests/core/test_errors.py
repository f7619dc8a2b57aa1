"""The errors of the zoo: one tree, texts that say where."""

from __future__ import annotations

import pickle

import pytest

from zoo_core import errors
from zoo_core.errors import DataError, SpecError, ZooError, nearest


def test_every_error_is_a_zoo_error() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(found) == 10
    assert all(issubclass(error, ZooError) for error in found)
    assert all(error.__name__ in (errors.__doc__ or "") for error in found), "the tree in the docstring lacks one"


def test_a_spec_error_tells_every_problem_and_where() -> None:
    error = SpecError([("neck.width", "too small"), ("", "no option 'x'")])
    assert str(error) == "neck.width: too small\nno option 'x'"
    assert error.problems == (("neck.width", "too small"), ("", "no option 'x'"))


@pytest.mark.parametrize("error", [SpecError([("a", "b"), ("", "c")]), DataError("bad", "labels.txt", 3), ZooError("x")])
def test_an_error_survives_the_way_from_a_worker(error: ZooError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ä\nb ", "ä\nb "),
        ("\x1b]0;owned\x07\x1b[31m", r"\x1b]0;owned\x07\x1b[31m"),
        ("a\tb\r\x00\x9b", r"a\tb\r\x00\x9b"),
        ("\udcff\u202egnp.exe", r"\udcff\u202egnp.exe"),
    ],
)
def test_what_a_stranger_wrote_gives_a_terminal_no_orders(text: str, shown: str) -> None:
    assert str(ZooError(text)) == shown
    assert str(SpecError([(text, "x")])) == f"{shown}: x"
    assert str(DataError("bad", text)) == f"{shown}: bad"


@pytest.mark.parametrize("letter", ["x", "\x1b", "\n"])
def test_a_message_is_no_wall_of_text(letter: str) -> None:
    text = str(ZooError(f"config.json: {letter * 10**6}: no such part"))
    assert len(text) < 2_000
    assert text.startswith("config.json: ")
    assert text.endswith(": no such part")
    assert "letters) …" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(("bad",), "bad"), (("bad", "a.txt"), "a.txt: bad"), (("bad", "a.txt", 7), "a.txt, line 7: bad")],
)
def test_a_data_error_names_the_file_and_the_line(arguments: tuple[str | int, ...], text: str) -> None:
    assert str(DataError(*arguments)) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("widht", "; did you mean 'width'?"),
        ("width", "; did you mean 'width'?"),
        ("stirdes", "; did you mean 'strides'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_nearest(name: str, hint: str) -> None:
    assert nearest(name, iter(["strides", "width"])) == hint
