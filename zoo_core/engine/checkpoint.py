"""Checkpoints of a training run: each is a folder ``step-0000020`` that `zoo.load` opens, with what resuming needs beside it.

Of a run that averages its weights, the model in the folder is the average; the weights to train on with lie beside it.
A checkpoint appears by one rename, so that a crash or a full disk leaves the earlier ones whole.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, ValidationInfo, field_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.optim import Optimizer

from zoo_core import hub, provenance
from zoo_core.detectors.detector import Detector
from zoo_core.engine.ema import Average
from zoo_core.engine.optim import optimizer_tensors, restore_optimizer
from zoo_core.engine.specs import TrainSpec
from zoo_core.errors import CheckpointError, SpecError
from zoo_core.provenance import Data, Provenance
from zoo_core.replace import TEMPORARY, replaced

STATE = provenance.FILE
MOMENTA = "optimizer.safetensors"
TRAINED = "training.safetensors"
"""The weights that training goes on from, where those of the model are an average."""


class State(Provenance):
    """What ``training.json`` of a checkpoint holds: where the run stands, and what it is a run of."""

    model_config = ConfigDict(extra="forbid")

    step: NonNegativeInt
    processes: PositiveInt
    options: dict[str, Any]
    data: Data
    versions: dict[str, str]
    scaler: dict[str, float] = Field({}, description="of mixed precision")
    updates: NonNegativeInt = 0

    @field_validator("updates")
    @classmethod
    def _check_updates(cls, updates: int, known: ValidationInfo) -> int:
        if updates > known.data.get("step", updates):
            raise ValueError(f"{updates} updates of the average in {known.data['step']} steps")
        return updates

    def options_in_full(self) -> dict[str, Any]:
        """Return the options, with the defaults of those that the zoo did not have yet when they were written."""
        with suppress(SpecError, RecursionError):
            return TrainSpec(**self.options).model_dump(mode="json")
        return self.options


def checkpoints(out: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first. A model that was saved among them is none."""
    return [path for path in hub.steps(out) if (path / MOMENTA).is_file()]


def save_checkpoint(out: Path, model: Detector, optimizer: Optimizer, average: Average | None, state: State, keep: int) -> Path:
    """Write a checkpoint, then remove all but the last `keep`."""
    folder = out / f"step-{state.step:07d}"
    with replaced(folder) as fresh:
        hub.write(model, fresh)
        if average is not None:
            (fresh / hub.WEIGHTS).rename(fresh / TRAINED)
            save_file(hub.separate(average.state()), fresh / hub.WEIGHTS, metadata={"format": "pt"})
        save_file(hub.separate(optimizer_tensors(model, optimizer)), fresh / MOMENTA)
        (fresh / STATE).write_text(state.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for old in checkpoints(out)[:-keep]:
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)  # one that stays does no harm
    return folder


def sweep(out: Path) -> None:
    """Remove what a run that was killed while saving has left in its folder."""
    for leftover in out.glob(f".step-*{TEMPORARY}"):
        if re.fullmatch(rf"\.{hub.STEP.pattern}\.[0-9a-f]{{8}}\{TEMPORARY}", leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder for the length of the block."""
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise CheckpointError(f"another training is writing to {out}; give another --out") from None


def read_state(folder: Path) -> State:
    """Return where the run stands."""
    path = folder / STATE
    try:
        return State.model_validate(provenance.content(path))
    except ValidationError as error:
        raise CheckpointError(f"{path} cannot be used to resume: {provenance.first_mistake(error)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be used to resume: {error}") from error


def restore_checkpoint(folder: Path, model: Detector, optimizer: Optimizer, average: Average | None, state: State) -> None:
    """Load the weights, their average and the optimiser's state of a checkpoint into a model of the same spec.

    Raises:
        CheckpointError: files missing or damaged, or of a model with other options.
    """
    config = hub.read_config(folder)
    before, now = provenance.without_paths(config.spec), hub.settings(model.spec)
    if before != now or config.class_names != model.class_names:
        changed = [name for name, value in now.items() if before.get(name) != value] or ["class names"]
        raise CheckpointError(f"{folder} is of a model with other options ({', '.join(changed)}); use another --out")
    hub.load_weights(model, folder / hub.WEIGHTS)
    if average is not None:
        average.restart(state.updates)
        hub.load_weights(model, folder / TRAINED)
    try:
        restore_optimizer(model, optimizer, load_file(folder / MOMENTA), state.step)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder / MOMENTA} cannot be used to resume: {error}") from error
