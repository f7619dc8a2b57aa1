"""The training loop, in plain sight.

Everything random in a step is a function of (seed, step): the order of the images, their augmentation, and the sampling. So
a run that is resumed gives the same numbers as one that never stopped, and no generator's state needs saving.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor
from torch.optim import Optimizer

from zoo_core import hub
from zoo_core.data.loader import training_loader
from zoo_core.data.samples import DetectionData
from zoo_core.detectors.detector import Detector
from zoo_core.engine.accelerator import make_accelerator
from zoo_core.engine.checkpoint import State, checkpoints, locked, read_state, restore_checkpoint, save_checkpoint, sweep
from zoo_core.engine.ema import Average
from zoo_core.engine.log import Log
from zoo_core.engine.optim import make_optimizer, rate_at
from zoo_core.engine.specs import TrainSpec
from zoo_core.errors import CheckpointError, InputError, TrainingError
from zoo_core.provenance import Data, Origin
from zoo_core.types import ImageBatch, Losses


@dataclass(frozen=True)
class Step:
    """What a step gave: its number from 1, the losses by name and their sum, the rate, the speed, images skipped so far."""

    step: int
    steps: int
    epoch: int
    losses: dict[str, float]
    total: float
    learning_rate: float
    images_per_second: float
    skipped: int


def train(
    model: Detector,
    data: DetectionData,
    spec: TrainSpec,
    out: str | Path,
    *,
    resume: bool = False,
    device: str | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Path:
    """Train a detector, and return the folder of the last checkpoint.

    Args:
        model: the detector; trained in place. With ``spec.ema`` it is left with the average of its weights.
        data: images and targets; its class names must be the model's.
        spec: the options.
        out: folder for checkpoints, ``log.jsonl`` and, of weights that the model begins with, ``load_report.json``.
        resume: go on from the last checkpoint in `out`, if there is one.
        device: "cpu", "cuda", "cuda:1"; None for what accelerate finds.
        on_step: called after each step.

    Raises:
        TrainingError: a loss that is not finite; the last good checkpoint stays.
        CheckpointError: `out` holds another run, or cannot be written.
        DataError: an image that cannot be read, unless ``spec.skip_bad``.
    """
    if data.class_names != model.class_names:
        raise InputError(
            f"the data has the classes {', '.join(data.class_names)}, the model {', '.join(model.class_names)}; "
            "create the model with class_names=data.class_names, or open the data with classes=model.class_names"
        )
    if not len(data):
        raise TrainingError("the data set has no images")
    out = Path(out)
    accelerator = make_accelerator(spec, device)
    model.to(accelerator.device)
    average = None if spec.ema is None else Average(model)
    began = model.provenance.origin if model.provenance else None
    run = _Run(accelerator, model, make_optimizer(model, spec), average, spec, data, out, on_step, began)
    _make(out)
    with locked(out) if accelerator.is_main_process else nullcontext():
        return run.run(resume)


@dataclass
class _Run:
    """The objects of a run, and its loop."""

    accelerator: Accelerator
    model: Detector
    optimizer: Optimizer
    average: Average | None
    spec: TrainSpec
    data: DetectionData
    out: Path
    on_step: Callable[[Step], None] | None
    began: Origin | None

    @property
    def total(self) -> int:
        """The number of steps of the whole run."""
        return self.spec.total_steps(len(self.data), self.accelerator.num_processes)

    def run(self, resume: bool) -> Path:
        """Run what is left to do, and return the last checkpoint."""
        start, processes = self.start(resume), self.accelerator.num_processes
        loader = training_loader(
            *(self.data, self.model.preprocess),
            batch_size=self.spec.batch_size,
            steps=self.total * processes,
            start_step=start * processes,
            seed=self.spec.seed,
            augment=self.spec.augment,
            workers=self.spec.workers,
            skip_bad=self.spec.skip_bad,
            pin_memory=self.accelerator.device.type == "cuda",
        )
        return self.steps(loader, start)

    def start(self, resume: bool) -> int:
        """Return the step to go on from, with the model and the optimiser put there."""
        found = checkpoints(self.out)
        if not found:
            return 0
        if not resume:
            raise CheckpointError(f"{self.out} holds a run up to {found[-1].name}; go on with --resume, or give another --out")
        sweep(self.out)
        state = read_state(found[-1])
        if changed := self._changed(state):
            raise CheckpointError(f"{found[-1]} is of a run with other settings ({', '.join(changed)}); use another --out")
        if state.step > self.total:
            raise CheckpointError(f"{found[-1]} is already beyond the {self.total} steps that are asked for")
        restore_checkpoint(found[-1], self.model, self.optimizer, self.average, state)
        self.began = state.began
        if state.scaler and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)
        return state.step

    def _changed(self, state: State) -> list[str]:
        now, before = self._state(state.step), state.options_in_full()
        options = [key for key, value in now.options.items() if before.get(key) != value and key not in FREE_TO_CHANGE]
        before_data = dict(state.data)
        data = [f"data {key}" for key, value in now.data if before_data[key] != value and key != "name"]
        return options + data + (["number of processes"] if now.processes != state.processes else [])

    def steps(self, loader: Any, start: int) -> Path:
        """Run the steps from `start` on, and return the last checkpoint."""
        accelerator, spec = self.accelerator, self.spec
        model, optimizer, loader = accelerator.prepare(self.model, self.optimizer, loader)
        log = Log(self.out, start, self.model.report) if accelerator.is_main_process else None
        between = spec.steps_per_checkpoint(len(self.data), accelerator.num_processes)
        saved, step, skipped, clock, whole = start, start, 0, time.perf_counter(), True
        model.train()
        if self.average and not start:
            self.average.restart()  # other processes now have the weights of the first
        try:
            for loaded in loader:
                batch = loaded.batch
                torch.manual_seed(_seed(spec.seed, step, accelerator.process_index))
                rate = _set_rate(optimizer, rate_at(step, self.total, spec))
                losses: Losses = model(batch)
                accelerator.backward(torch.stack(list(losses.values())).sum())
                norm = accelerator.clip_grad_norm_(model.parameters(), spec.clip or math.inf)
                values = self._checked(losses, norm, step + 1, batch)
                whole = False
                self._update(optimizer)
                step += 1
                whole = True
                seconds, clock = time.perf_counter() - clock, time.perf_counter()
                images = len(batch) * accelerator.num_processes
                skipped += len(loaded.skipped)
                epoch = (step - 1) * images // len(self.data)
                done = Step(step, self.total, epoch, values, sum(values.values()), rate, images / seconds, skipped)
                if log and (step % spec.log_every == 0 or step == self.total):
                    log.write(**vars(done))
                if self.on_step:
                    self.on_step(done)
                if step % between == 0 or step == self.total:
                    self.save(step)
                    saved = step
        except KeyboardInterrupt:
            if whole and step > saved:  # not from the middle of an update
                self.save(step)
            raise
        finally:
            accelerator.unwrap_model(model, keep_fp32_wrapper=False)
            if self.average:
                self.average.install()
            self.model.provenance = self._state(step).within(self.out)
        accelerator.wait_for_everyone()
        self._agree()
        return checkpoints(self.out)[-1]

    def _update(self, optimizer: Any) -> None:
        """Take the weights a step further, and their average, unless the scaler of fp16 leaves the step out."""
        optimizer.step()
        optimizer.zero_grad()
        if self.average and not optimizer.step_was_skipped:
            self.average.update(self.total, self.spec)

    def _agree(self) -> None:
        """Give all processes the statistics of the first, which it has saved; each has those of its own images."""
        kept = self.model.state_dict()
        for name, buffer in self.model.named_buffers():
            if name in kept:
                broadcast(buffer)

    def _checked(self, losses: Losses, norm: Tensor | None, step: int, batch: ImageBatch) -> dict[str, float]:
        """Return the losses as numbers, their mean over the processes, in one copy from the device.

        Raises:
            TrainingError: one of them is not finite, or the gradient is not. All processes raise together.
        """
        parts = {name: loss.detach().float() for name, loss in losses.items()}
        if norm is not None and self.spec.precision != "fp16":  # there the scaler skips such a step and tries a smaller scale
            parts["the gradient"] = norm.detach().float().to(self.accelerator.device)
        reduced = self.accelerator.reduce(torch.stack(list(parts.values())), "mean")
        values = dict(zip(parts, reduced.tolist(), strict=True))
        bad = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise TrainingError(self._stopped(step, bad, batch))
        return {name: values[name] for name in losses}

    def _stopped(self, step: int, bad: list[str], batch: ImageBatch) -> str:
        found = checkpoints(self.out)
        last = f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was written yet"
        return (
            f"step {step}: {', '.join(bad)} in {', '.join(batch.names)}; stopped before it reached the weights; {last}. "
            "A lower learning rate or gradient clipping (--set train.clip=10) is the usual cure"
        )

    def _state(self, step: int) -> State:
        scaler = self.accelerator.scaler
        return State(
            step=step,
            processes=self.accelerator.num_processes,
            options=self.spec.model_dump(mode="json"),
            data=_facts(self.data),
            versions=_versions(),
            began=self.began,
            scaler={} if scaler is None else scaler.state_dict(),
            updates=self.average.updates if self.average else 0,
        )

    def save(self, step: int) -> None:
        """Write a checkpoint, once for all processes."""
        if self.accelerator.is_main_process:
            save_checkpoint(self.out, self.model, self.optimizer, self.average, self._state(step), self.spec.keep)


FREE_TO_CHANGE = {"epochs", "steps", "workers", "save_every", "keep", "log_every"}
"""Options that a resumed run may have otherwise. With another length, the rates from there on are those of that length."""


def check_folder(out: Path) -> None:
    """Raise a `CheckpointError` if a folder cannot be that of a run, for it holds a saved model."""
    if (out / hub.CONFIG).exists():
        raise CheckpointError(f"{out} holds a saved model; train into another folder")


def _make(out: Path) -> None:
    check_folder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot write to {out}: {error.strerror or error}") from error


def _seed(seed: int, step: int, process: int) -> int:
    """Return the seed of a step's sampling; far apart for neighbours, and the same on every machine."""
    return int(np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0] >> 1)


def _set_rate(optimizer: Optimizer, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def _facts(data: DetectionData) -> Data:
    name = Path(os.path.abspath(data.name)).name  # not where it lies
    return Data(name=name, split=data.split, images=len(data), class_names=data.class_names)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("zoo-core", "torch", "torchvision")}
