"""The text of a Darknet ``.cfg`` to sections of options, each with its line, so that a mistake can be shown where it is.

The form: a section begins with its name in brackets, its options follow as ``name = value``, a comment begins with # or ;
and goes to the end of the line. Spaces do not count. The first section describes the input, the others are the layers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from zoo_core.errors import DataError, nearest

SECTIONS = ("net", "convolutional", "shortcut", "route", "maxpool", "upsample", "dropout", "yolo")
ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool"}
"""Short forms that Darknet takes, too."""
MOST_SECTIONS = 10_000
MOST_BYTES = 8 << 20
"""Beyond these a file is no description of a network."""
WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
DECIMAL = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?")


@dataclass
class Section:
    """One section: its name and line, and the options as they are written.

    Attributes:
        path: the file, for messages.
        name: one of `SECTIONS`.
        line: the line of the name, from 1.
        options: the value and the line of each option.
        repeated: the line of an option that is given again with another value, by name.
    """

    path: Path
    name: str
    line: int
    options: dict[str, tuple[str, int]] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)

    def error(self, message: str, option: str | None = None) -> DataError:
        """Return the error that names the line of an option, or that of the section."""
        line = self.options[option][1] if option in self.options else self.line
        return DataError(f"[{self.name}]: {message}", self.path, line)

    def word(self, option: str, default: str | None = None) -> str:
        """Return the text of an option; without a default it must be there."""
        if option not in self.options:
            if default is None:
                raise self.error(f"'{option}' is missing; is the file truncated?")
            return default
        if option in self.repeated:
            raise self.error(f"'{option}' is given again, with another value, in line {self.repeated[option]}", option)
        return self.options[option][0]

    def integers(self, option: str, default: str | None = None) -> tuple[int, ...]:
        """Return whole numbers that commas separate."""
        words = _listed(self.word(option, default))
        for word in words:
            if not WHOLE.fullmatch(word):
                raise self.error(f"{option}: '{word[:40]}' is not a whole number", option)
        return tuple(int(word) for word in words)

    def numbers(self, option: str, default: str | None = None) -> tuple[float, ...]:
        """Return numbers that commas separate."""
        words = _listed(self.word(option, default))
        for word in words:
            if not DECIMAL.fullmatch(word) or not isfinite(float(word)):
                raise self.error(f"{option}: '{word[:40]}' is not a number", option)
        return tuple(float(word) for word in words)

    def integer(self, option: str, default: int | None = None, *, least: int = 0, most: int = 65_536) -> int:
        """Return one whole number within bounds."""
        found = self.integers(option, None if default is None else str(default))
        return int(self._bounded(option, found, least, most))

    def number(self, option: str, default: float | None = None, *, least: float = 0.0, most: float = 1e6) -> float:
        """Return one number within bounds."""
        found = self.numbers(option, None if default is None else repr(default))
        return self._bounded(option, found, least, most)

    def _bounded(self, option: str, found: tuple[float, ...], least: float, most: float) -> float:
        if len(found) != 1:
            raise self.error(f"{option} takes one number, got {len(found)}", option)
        if not least <= found[0] <= most:
            raise self.error(f"{option} must lie in {least:,} … {most:,}, got {found[0]:,}", option)
        return found[0]

    def check_options(self, known: Collection[str], ignored: Collection[str], refused: Mapping[str, float]) -> None:
        """Raise for an option that is refused or that nobody knows.

        Args:
            known: options that are read.
            ignored: options of training and of speed, which do not change what the network computes.
            refused: options that do, and that are not done here, with the value that switches each off.
        """
        for option, (value, line) in self.options.items():
            if option in refused:
                if value != "none" and self.numbers(option) != (refused[option],):
                    told = "the network would not compute what it was trained for"
                    raise self.error(f"{option}={value[:40]} is not supported: without it {told}", option)
            elif option not in known and option not in ignored:
                hint = nearest(option, known) or f"; if it is about training alone, take line {line} out"
                raise self.error(f"no option '{option[:40]}' is known{hint}", option)


def _listed(text: str) -> list[str]:
    """Return the words between commas; Darknet takes a comma at the end."""
    words = text.split(",")
    return words[:-1] if len(words) > 1 and not words[-1] else words


def read_cfg(path: Path) -> list[Section]:
    """Return the sections of a file, [net] first.

    Raises:
        DataError: no file, no text, an unknown section, a line that is no option, no [net], no layer; names the line.
    """
    sections: list[Section] = []
    for line, raw in enumerate(_text(path).splitlines(), start=1):
        text = "".join(re.split("[#;]", raw, maxsplit=1)[0].split())
        if not text:
            continue
        if text.startswith("["):
            sections.append(_begun(text, path, line))
            if len(sections) > MOST_SECTIONS:
                raise DataError(f"more than {MOST_SECTIONS:,} sections", path, line)
        elif not sections:
            raise DataError(f"expected a section such as [net], got '{text[:40]}'; is it a Darknet .cfg?", path, line)
        else:
            _add(sections[-1], text, line)
    if not sections:
        raise DataError("the file is empty; a Darknet .cfg begins with [net]", path)
    if sections[0].name != "net":
        raise DataError(f"the first section must be [net], not [{sections[0].name}]", path, sections[0].line)
    if len(sections) == 1:
        raise DataError("there is no layer after [net]; is the file truncated?", path)
    return sections


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error
    if len(content) > MOST_BYTES or b"\0" in content:
        raise DataError("is no text of a Darknet .cfg", path)
    return content.decode("utf-8-sig", errors="replace")


def _begun(text: str, path: Path, line: int) -> Section:
    if not text.endswith("]"):
        raise DataError(f"'{text[:40]}' has no closing bracket; is the file truncated?", path, line)
    name = text[1:-1]
    name = ALIASES.get(name, name)
    if name not in SECTIONS:
        known = ", ".join(f"[{known}]" for known in SECTIONS)
        raise DataError(f"no section [{name[:40]}]{nearest(name[:40], SECTIONS) or f'; there are {known}'}", path, line)
    return Section(path, name, line)


def _add(section: Section, text: str, line: int) -> None:
    option, sign, value = text.partition("=")
    if not (sign and option and value):
        raise DataError(f"expected name = value, got '{text[:40]}'; is the file truncated?", section.path, line)
    if option not in section.options:
        section.options[option] = (value, line)
    elif section.options[option][0] != value:
        section.repeated[option] = line
