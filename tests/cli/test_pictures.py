"""Pictures named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from zoo_cli.pictures import Picture, listed, output_names, write
from zoo_core.errors import InputError


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name in ("a/1.jpg", "a/2.PNG", "a/notes.txt", "a/deep/3.jpg", "b/1.jpg", "b/odd[1].webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a"], ["a/1.jpg", "a/2.PNG"]),
        (["b/1.jpg", "a"], ["b/1.jpg", "a/1.jpg", "a/2.PNG"]),
        (["a/1.jpg", "a", "./a/1.jpg"], ["a/1.jpg", "a/2.PNG"]),
        (["*/1.jpg"], ["a/1.jpg", "b/1.jpg"]),
        (["a/**/*.jpg"], ["a/1.jpg", "a/deep/3.jpg"]),
        (["b/odd[1].webp"], ["b/odd[1].webp"]),
        (["a/notes.txt"], ["a/notes.txt"]),
    ],
)
def test_files_folders_and_patterns(folder, arguments, expected) -> None:
    assert [picture.name for picture in listed(arguments)] == expected


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nowhere.jpg", "nowhere.jpg: there is no such picture or folder"),
        ("a/*.gif", "there is no such picture or folder"),
        ("empty", "empty: no picture in this folder"),
    ],
)
def test_a_name_that_stands_for_nothing(folder, argument, message) -> None:
    with pytest.raises(InputError) as caught:
        listed([argument])
    assert message in str(caught.value)


def test_drawn_pictures_have_names_of_their_own(folder) -> None:
    pictures = [*listed(["a", "b"]), Picture("7", None), Picture("toy scene/8", None)]
    assert output_names(pictures, Path("out")) == ["1.jpg", "2.PNG", "1-2.jpg", "odd[1].png", "7.png", "toy-scene-8.png"]


def test_an_original_is_never_replaced(folder) -> None:
    with pytest.raises(InputError, match=r"would replace a/1\.jpg; give another --out"):
        output_names(listed(["a"]), Path("a"))
    with pytest.raises(InputError, match="is a file; give a folder"):
        output_names(listed(["a"]), Path("b/1.jpg"))


@pytest.mark.parametrize("name", ["1.jpg", "2.PNG"])
def test_only_a_drawn_picture_is_replaced(folder, name) -> None:
    (folder / "out").mkdir()
    path, picture = folder / "out" / name, Image.new("RGB", (8, 6))
    write(picture, path)
    assert [path.name for path in (folder / "out").iterdir()] == [name]
    assert name in output_names(listed(["a"]), Path("out"))
    for foreign in (lambda: picture.save(path), lambda: path.write_text("notes")):
        foreign()
        with pytest.raises(InputError, match=f"would replace out/{name}; give another --out"):
            output_names(listed(["a"]), Path("out"))
