"""Pictures that are named on the command line, and the files that they are drawn to."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = "drawn by zoo-cli predict"

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")


@dataclass(frozen=True)
class Picture:
    """A picture by its name in messages; `path` is None for one that is drawn."""

    name: str
    path: Path | None


def listed(arguments: Sequence[str]) -> list[Picture]:
    """Return the pictures that files, folders and patterns name, each once, in the order given.

    Raises:
        InputError: a name that stands for nothing, or a folder without a picture.
    """
    found: dict[Path, Picture] = {}
    for argument in arguments:
        for path in _expanded(argument):
            found.setdefault(path.resolve(), Picture(str(path), path))
    return list(found.values())


def _expanded(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        inside = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES and child.is_file())
        if not inside:
            raise InputError(f"{argument}: no picture in this folder (those end in {', '.join(SUFFIXES)})")
        return inside
    if path.exists():
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))] if glob.has_magic(argument) else []
    if not matches:
        raise InputError(f"{argument}: there is no such picture or folder")
    return [match for match in matches if match.is_file()]


def output_names(pictures: Sequence[Picture], out: Path) -> list[str]:
    """Return a file name for each drawn picture, all different, none that of a file which is not a drawn picture.

    Raises:
        InputError: `out` is a file, or a drawn picture would replace a file that `write` has not written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder")
    originals = {picture.path.resolve() for picture in pictures if picture.path}
    names: list[str] = []
    taken: set[str] = set()
    for picture in pictures:
        name = _free(_plain(picture), taken)
        if (out / name).resolve() in originals or not _replaceable(out / name):
            raise InputError(f"the drawn picture would replace {out / name}; give another --out")
        taken.add(name.lower())
        names.append(name)
    return names


def _replaceable(path: Path) -> bool:
    """Return whether there is no such file, or one that carries the mark of `write`."""
    from PIL import Image

    if not os.path.isfile(path):  # false, too, of a name that is too long
        return True
    try:
        with Image.open(path) as picture:
            return picture.info.get("comment") in (MARK, MARK.encode())  # PNG has text, JPEG bytes
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def write(picture: Image, path: Path) -> None:
    """Write a drawn picture, wholly or not at all, marked so that a later run may replace it."""
    from PIL.PngImagePlugin import PngInfo

    temporary = path.with_name(f".{path.name}")
    text = PngInfo()
    text.add_text("comment", MARK)
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    try:
        picture.save(temporary, format=kind, quality=92, comment=MARK, pnginfo=text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(picture: Picture) -> str:
    """Return the name of the file, as one of a format that is written; of a picture without a file, its words."""
    if picture.path is None:
        return re.sub(r"[^\w-]+", "-", picture.name) + ".png"
    suffix = picture.path.suffix if picture.path.suffix.lower() in (".jpg", ".jpeg", ".png") else ".png"
    return picture.path.stem + suffix


def _free(name: str, taken: set[str]) -> str:
    stem, dot, suffix = name.rpartition(".")
    number = 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}{dot}{suffix}"
    return name
