"""A saved detector is a folder that says all about itself: ``config.json``, ``model.safetensors``, its card, ``README.md``, and
``training.json``, where something is known of how it was trained.

Loading resolves registered names alone; nothing that is in the folder is executed.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from zoo_core import card, provenance
from zoo_core.build import build
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError, SpecError, UnknownNameError
from zoo_core.origins import missing, origins, other_versions
from zoo_core.recipes import resolve
from zoo_core.registry import find
from zoo_core.replace import replaced
from zoo_core.report import LoadReport
from zoo_core.specs import ComponentSpec, validate
from zoo_core.tensor_file import opened
from zoo_core.uninitialised import Uninitialised

log = logging.getLogger(__name__)

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
LONGEST = 2**21
"""Bytes that a description may have; more are not read, and none are written."""
STEP = re.compile(r"step-(\d{7,})")
Name = Annotated[str, Field(min_length=1)]
Distribution = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""What may stand in a pip line that a message shows."""


class Config(BaseModel):
    """What ``config.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    format: int
    recipe: str = ""
    class_names: tuple[Name, ...]
    plugins: dict[Distribution, Distribution]
    spec: dict[str, Any]


def save(model: Detector, folder: str | Path) -> Path:
    """Write a detector to a folder, and return it. An earlier model there is replaced as a whole, or stays whole.

    A model card that was edited there keeps its text.

    Raises:
        CheckpointError: the folder holds something else than a model, or cannot be written (a full disk, say).
    """
    if not isinstance(model, Detector):
        raise InputError(f"save takes a detector, not a {type(model).__name__}")
    folder = _path(folder)
    if folder.name in ("", ".."):
        raise CheckpointError(f"give the folder a name, such as {folder / 'model'}")
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; a model is saved to a folder")
    _check_replaceable(folder)
    with replaced(folder) as fresh:
        write(model, fresh)
        text = card.written(model, origins(model.spec), provenance.without_path(str(folder)), card.of(folder))
        (fresh / card.CARD).write_bytes(text.encode(errors="replace"))
    return folder


def _check_replaceable(folder: Path) -> None:
    """Raise if the folder holds anything but a model that `save` wrote: it would be lost."""
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    others = sorted(present - {CONFIG, WEIGHTS, card.CARD, provenance.FILE})
    if others:
        raise CheckpointError(f"{folder} holds other files ({', '.join(others[:3])}); save to a new or empty folder")
    if CONFIG in present:
        read_config(folder)  # a stranger's config.json is not ours to replace


def write(model: Detector, folder: Path) -> None:
    """Write the files of a model into an existing folder."""
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise InputError("the detector has no weights: it is on the device 'meta'")
    config = Config(
        format=FORMAT,
        recipe=model.recipe,
        class_names=model.class_names,
        plugins=origins(model.spec),
        spec=settings(model.spec),
    )
    text = config.model_dump_json(indent=2) + "\n"
    if len(text.encode()) > LONGEST:
        raise InputError(f"the options and the names of {len(model.class_names):,} classes take more than {LONGEST:,} bytes")
    (folder / CONFIG).write_text(text, encoding="utf-8")
    if model.provenance is not None:
        provenance.write(model.provenance, folder)
    save_file(separate(model.state_dict()), folder / WEIGHTS, metadata={"format": "pt"})


def settings(spec: ComponentSpec) -> dict[str, Any]:
    """Return options as ``config.json`` holds them: in full, but of files of this machine the names alone."""
    found: dict[str, Any] = provenance.without_paths(spec.model_dump(mode="json"))
    return found


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors as safetensors wants them: on the CPU, contiguous, and none on the memory of another."""
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        found[name] = tensor.clone() if tensor.untyped_storage().data_ptr() in taken else tensor
        taken.add(found[name].untyped_storage().data_ptr())
    return found


def load(folder: str | Path, **overrides: Any) -> Detector:
    """Return the detector that is saved in a folder, in evaluation mode.

    Args:
        folder: what `save` wrote, or the output of a training run: then its latest checkpoint.
        **overrides: options that it shall have otherwise, as `zoo.create` takes them: ``preprocess={"long_side": 1280}``.
            The weights must still fit.

    Raises:
        CheckpointError: no such folder; files missing, truncated or of another format version; weights that do not fit.
        UnknownNameError: a part that no installed plugin offers; the distribution that did is named.
        SpecError: overrides that do not fit, all of them.
    """
    folder = locate(folder)
    config = read_config(folder)
    spec, known = resolve(spec_of(config, folder), overrides), provenance.read(folder)
    if others := other_versions(config.plugins):
        log.warning("%s was saved with %s", folder, others)
    try:
        model = unfilled(config, spec, folder)
        load_weights(model, folder / WEIGHTS)
    except CheckpointError as error:
        if not overrides:
            raise
        raise CheckpointError(f"the weights depend on what was set otherwise ({', '.join(overrides)}): {error}") from error
    model.recipe, model.report = config.recipe, LoadReport(loaded=list(model.state_dict()))
    model.provenance = known
    return model.eval()


def unfilled(config: Config, spec: ComponentSpec, folder: Path) -> Detector:
    """Return the detector of a folder whose parameters have no values yet; it costs neither their time nor their memory."""
    try:
        with Uninitialised():
            return build(spec, config.class_names)
    except InputError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error


def locate(folder: str | Path) -> Path:
    """Return the folder that holds the model: itself, its latest checkpoint, or what a crash left of it."""
    folder = _path(folder)
    if (folder / CONFIG).is_file():
        return folder
    checkpoints = steps(folder)
    if checkpoints:
        return checkpoints[-1]
    if not folder.exists():
        spare = folder.with_name(f".{folder.name}.old")
        if (spare / CONFIG).is_file():
            return spare
        raise CheckpointError(f"{folder}: no such folder; give one that 'zoo-cli train' or zoo.save wrote")
    if not folder.is_dir():
        hint = "'zoo-cli import' makes one of the weights of other projects"
        raise CheckpointError(f"{folder} is a file; a model is a folder with {CONFIG} and {WEIGHTS}; {hint}")
    raise CheckpointError(f"{folder} holds no model: {CONFIG} is missing, and there is no checkpoint step-0000001 or later")


def steps(folder: Path) -> list[Path]:
    """Return the checkpoints of a training run, by their step. What else lies there, links and copies, is the user's."""
    found = {path: STEP.fullmatch(path.name) for path in folder.glob("step-*") if not path.is_symlink()}
    numbers = {path: int(match[1]) for path, match in found.items() if match and (path / CONFIG).is_file()}
    return sorted(numbers, key=lambda path: numbers[path])


def _path(folder: str | Path) -> Path:
    try:
        found = Path(folder).expanduser()
        os.lstat(found / CONFIG)  # what cannot be looked at, for its length or for want of a right, raises here
    except (FileNotFoundError, NotADirectoryError):
        return found
    except OSError as error:
        raise CheckpointError(f"{folder} is no folder that can be looked at: {error.strerror or error}") from error
    except (TypeError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{folder!r:.100} is no folder: {error}") from error
    return found


def read_config(folder: Path) -> Config:
    """Return the checked content of ``config.json``."""
    path = folder / CONFIG
    try:
        content = provenance.content(path, LONGEST)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        raise CheckpointError(f"{path} has format version {version!r}; this version of the zoo reads version {FORMAT}")
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise CheckpointError(f"{path}: {where}: {first['msg']}") from error


def spec_of(config: Config, folder: Path) -> ComponentSpec:
    """Return the checked spec of a saved detector."""
    try:
        cls = find("assembly", str(config.spec.get("type"))).spec()
        spec: ComponentSpec = validate(cls, config.spec)
    except (SpecError, UnknownNameError) as error:
        absent = missing(config.plugins)
        hint = f"\nit was saved with plugins that are not here: pip install {' '.join(absent)}" if absent else ""
        hint += f"\nit was saved with {others}" if (others := other_versions(config.plugins)) else ""
        raise CheckpointError(f"{folder / CONFIG}: {error}{hint}") from error
    return spec


def load_weights(model: Detector, path: Path) -> None:
    """Give a model the tensors of a safetensors file, one at a time; names and shapes must be exactly the model's.

    A tensor of the model's type is read into the memory that it then keeps: there is never a second copy of all weights.
    """
    own = model.state_dict(keep_vars=True)
    with opened(path) as file:
        check_fit(file, own, path)
        for name, tensor in own.items():
            settle(tensor, sound(file.get_tensor(name), tensor, name, path))


def check_fit(file: Any, own: Mapping[str, Tensor], path: Path) -> None:
    """Raise `CheckpointError` unless an open file has exactly the tensors of a model; no values are looked at."""
    found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if wrong := misfit(found, own):
        raise CheckpointError(f"{path} does not fit its {CONFIG}: {wrong}")


def settle(own: Tensor, values: Tensor) -> None:
    """Give a parameter or buffer new values, in its own layout; memory that already has it is taken over, not copied."""
    if own.device != values.device or own.dtype != values.dtype:
        values = values.to(own.device, own.dtype)
    if own.is_contiguous() and values.is_contiguous():  # sides of length 1 may have any stride
        own.data = values.as_strided(own.shape, own.stride())
    else:
        own.data = torch.empty_like(own).copy_(values)


def misfit(found: Mapping[str, tuple[int, ...]], own: Mapping[str, Tensor]) -> str:
    """Return how the shapes in a file differ from those of a model: the first tensor that does; nothing if none does."""
    wrong = [name for name in own if found.get(name) != tuple(own[name].shape)] + [name for name in found if name not in own]
    if not wrong:
        return ""
    name = wrong[0]
    due = tuple(own[name].shape) if name in own else None
    return f"{name[:100]} has shape {found.get(name)}, expected {due} (and {len(wrong) - 1} more)"


def fill(model: Detector, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors of a file of another project into a model; names and shapes must be exactly the model's.

    Raises:
        CheckpointError: tensors that are missing, left over, of another shape or kind, or not finite.
    """
    own = model.state_dict()
    if wrong := misfit({name: tuple(tensor.shape) for name, tensor in tensors.items()}, own):
        raise CheckpointError(f"{path}: does not fit {f'recipe {model.recipe!r}' if model.recipe else 'the model'}: {wrong}")
    for name, tensor in own.items():
        tensor.copy_(sound(tensors[name], tensor, name, path))


def sound(tensor: Tensor, like: Tensor, name: str, path: Path) -> Tensor:
    """Return a tensor of a file as the type of `like`; raise `CheckpointError` if it is of another kind, or not finite then."""
    if tensor.is_floating_point() != like.is_floating_point():
        raise CheckpointError(f"{path}: {name} holds {tensor.dtype}, expected {like.dtype}")
    tensor = tensor.to(like.dtype)  # where a large number may become an infinite one
    if tensor.is_floating_point() and not (tensor.sum().isfinite() or tensor.isfinite().all()):  # a sum is quick
        raise CheckpointError(f"{path}: {name} holds values that are not finite; nothing can be found with them")
    return tensor
