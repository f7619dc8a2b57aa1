"""What the weights of a detector were trained on, and what they began with: ``training.json`` of a saved one.

It is published with the model, so it names folders and files, and holds no path of a machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from zoo_core.errors import CheckpointError

FILE = "training.json"
LARGEST = 2**20
DEEPEST = 20
IN_CACHE = re.compile(r"models--((?!-)[^/]+?)--([^/]+)/snapshots/([0-9a-f]{40})")
"""How the cache of the Hub's client names the folder of a commit."""


def without_path(name: Any) -> Any:
    """Return a name that may be an absolute path as the last part of that."""
    if not isinstance(name, str):
        return name
    name = name.encode(errors="replace").decode()  # of a file whose name is no UTF-8
    absolute = re.match(r"~?/|[A-Za-z]:[\\/]|\\\\", name)
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1] if absolute else name


def without_paths(options: Any) -> Any:
    """Return plain data in which no text is an absolute path."""
    if isinstance(options, dict):
        return {key: without_paths(value) for key, value in options.items()}
    return [without_paths(value) for value in options] if isinstance(options, list) else without_path(options)


Name = Annotated[str, BeforeValidator(without_path)]


class Known(BaseModel):
    """A part of what is known; what later versions of the zoo say beside it is left aside."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Origin(Known):
    """What weights began with.

    Attributes:
        kind: "recipe" for freshly initialised ones, "saved" for a saved detector, "hub" for one on the Hub, "file" for a
            file of another project.
        name: of the recipe, the folder, the repository or the file.
        commit: on the Hub.
        sha256: of the file.
    """

    kind: Literal["recipe", "saved", "hub", "file"]
    name: Name
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class Data(Known):
    """A data set: the name of its folder, the split, how many images, and the classes in the order of their labels."""

    name: Name
    split: str
    images: NonNegativeInt
    class_names: tuple[str, ...]


class Provenance(Known):
    """What the weights of a detector were trained on, and what they began with.

    Attributes:
        step: how many steps they were trained by the zoo; None if it did not train them.
        processes: that did it together.
        options: of the training, the seed among them.
        data: what they were trained on.
        versions: of the zoo, and of what it stands on.
        began: what the training began with, or where they are from if the zoo did not train them; None if unknown.
    """

    step: NonNegativeInt | None = None
    processes: PositiveInt | None = None
    options: dict[str, Any] = {}
    data: Data | None = None
    versions: dict[str, str] = {}
    began: Origin | None = None
    _folder: Origin | None = PrivateAttr(None)

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        level: list[Any] = [options]
        for _ in range(DEEPEST):
            level = [part for whole in level for part in (whole.values() if isinstance(whole, dict) else whole)]
            level = [part for part in level if isinstance(part, dict | list | tuple)]
            if not level:
                return options
        raise ValueError("nested too deeply")

    @property
    def origin(self) -> Origin | None:
        """What a training that goes on from these weights begins with."""
        return self._folder or (self.began if self.step is None else None)

    def within(self, folder: Path) -> Provenance:
        """Return it for weights that lie in a folder: a training that goes on from them begins with that one."""
        found = Provenance.model_validate(self.model_dump())
        found._folder = of_folder(folder)
        return found


def read(folder: Path) -> Provenance | None:
    """Return what a saved detector says of its weights; None if it says nothing.

    Raises:
        CheckpointError: a file that is too long, no JSON, or not of this form.
    """
    path = folder / FILE
    if not os.path.lexists(path):
        return None
    try:
        return Provenance.model_validate(content(path)).within(folder)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_mistake(error)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error


def write(known: Provenance, folder: Path) -> None:
    """Write it into the folder of a model."""
    (folder / FILE).write_text(known.model_dump_json(indent=2, exclude_defaults=True) + "\n", encoding="utf-8")


def content(path: Path, largest: int = LARGEST) -> Any:
    """Return what a small JSON file holds; raise `OSError`, `ValueError` or `RecursionError` if it is none."""
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    with path.open("rb") as file:
        found = file.read(largest + 1)
    if len(found) > largest:
        raise ValueError(f"it is longer than {largest} bytes")
    data = json.loads(found.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_no_number)
    json.dumps(data, ensure_ascii=False).encode()  # halves of letters could not be written again
    return data


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict. Of a name given twice, one reader would take the first value and another the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, count),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"'{name}' is given {count} times")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def first_mistake(error: ValidationError) -> str:
    """Return the first of the mistakes in a file, and where it is."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}"


def of_folder(folder: Path) -> Origin:
    """Return what begins with the model in a folder: of one in the cache of the Hub's client, the repository and commit."""
    whole = Path(os.path.abspath(folder))
    found = IN_CACHE.fullmatch("/".join(whole.parts[-3:]))
    if found:
        return Origin(kind="hub", name=f"{found[1]}/{found[2]}", commit=found[3])
    return Origin(kind="saved", name="/".join(whole.parts[-2 if whole.name.startswith("step-") else -1 :]))


def of_file(path: Path) -> Origin:
    """Return what begins with a file of another project."""
    return Origin(kind="file", name=path.name, sha256=hashed(path, hashlib.sha256()))


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None:
        """Take in more."""

    def hexdigest(self) -> str:
        """Return the digest of all that was taken in."""


def hashed(path: Path, digest: Digest) -> str:
    """Return the digest of a file, which may have begun with something else."""
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
