"""The training loop, in plain sight.

Everything random in a step is a function of (seed, step): the order of the images, their augmentation, and the sampling. So
a run that is resumed gives the same numbers as one that never stopped, and no generator's state needs saving.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.optim import Optimizer

from zoo_core.data.loader import training_loader
from zoo_core.data.samples import DetectionData
from zoo_core.detectors.detector import Detector
from zoo_core.engine.checkpoint import State, checkpoints, read_state, restore_checkpoint, save_checkpoint
from zoo_core.engine.log import Log
from zoo_core.engine.optim import make_optimizer, rate_at
from zoo_core.engine.specs import TrainSpec
from zoo_core.errors import CheckpointError, InputError, TrainingError
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
        model: the detector; trained in place.
        data: images and targets; its class names must be the model's.
        spec: the options.
        out: folder for checkpoints and ``log.jsonl``.
        resume: go on from the last checkpoint in `out`, if there is one.
        device: "cpu", "cuda", "cuda:1"; None for what accelerate finds.
        on_step: called after each step.

    Raises:
        TrainingError: a loss that is not finite; the last good checkpoint stays.
        CheckpointError: `out` holds another run, or cannot be written.
        DataError: an image that cannot be read, unless ``spec.skip_bad``.
    """
    if data.class_names != model.class_names:
        raise InputError(f"the data has classes {data.class_names}, the model {model.class_names}")
    if not len(data):
        raise TrainingError("the data set has no images")
    out = Path(out)
    accelerator = _accelerator(spec, device)
    model.to(accelerator.device)
    optimizer = make_optimizer(model, spec)
    start = _start(out, model, optimizer, spec, data, resume)
    total = spec.total_steps(len(data), accelerator.num_processes)
    loader = training_loader(
        *(data, model.preprocess),
        batch_size=spec.batch_size,
        steps=total * accelerator.num_processes,
        start_step=start * accelerator.num_processes,
        seed=spec.seed,
        augment=spec.augment,
        workers=spec.workers,
        skip_bad=spec.skip_bad,
        pin_memory=accelerator.device.type == "cuda",
    )
    run = _Run(accelerator, model, optimizer, spec, data, out, total, on_step)
    return run.steps(loader, start)


@dataclass
class _Run:
    """The objects of a run, and its loop."""

    accelerator: Accelerator
    model: Detector
    optimizer: Optimizer
    spec: TrainSpec
    data: DetectionData
    out: Path
    total: int
    on_step: Callable[[Step], None] | None

    def steps(self, loader: Any, start: int) -> Path:
        """Run the steps from `start` on, and return the last checkpoint."""
        accelerator, spec = self.accelerator, self.spec
        model, optimizer, loader = accelerator.prepare(self.model, self.optimizer, loader)
        log = Log(self.out, start) if accelerator.is_main_process else None
        per_epoch = spec.steps_per_epoch(len(self.data), accelerator.num_processes)
        saved, step, skipped, clock, whole = start, start, 0, time.perf_counter(), True
        model.train()
        try:
            for loaded in loader:
                batch = loaded.batch
                torch.manual_seed(_seed(spec.seed, step, accelerator.process_index))
                rate = _set_rate(optimizer, rate_at(step, self.total, spec))
                losses: Losses = model(batch)
                objective = torch.stack(list(losses.values())).sum()
                values = _values(losses, step + 1, batch, self.out)
                accelerator.backward(objective)
                if spec.clip is not None:
                    accelerator.clip_grad_norm_(model.parameters(), spec.clip)
                whole = False
                optimizer.step()
                optimizer.zero_grad()
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
                if step % (spec.save_every or per_epoch) == 0 or step == self.total:
                    self.save(step)
                    saved = step
        except KeyboardInterrupt:
            if whole and step > saved:  # not from the middle of an update
                self.save(step)
            raise
        finally:
            accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        return checkpoints(self.out)[-1]

    def save(self, step: int) -> None:
        """Write a checkpoint, once for all processes."""
        if self.accelerator.is_main_process:
            state = State(step=step, options=self.spec.model_dump(mode="json"), data=_facts(self.data), versions=_versions())
            save_checkpoint(self.out, self.model, self.optimizer, state, self.spec.keep)
        self.accelerator.wait_for_everyone()


def _accelerator(spec: TrainSpec, device: str | None) -> Accelerator:
    """Return an accelerator; what an earlier run in this process chose is forgotten, but for its process group."""
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    if device is not None and device.startswith("cuda:"):
        torch.cuda.set_device(device)  # accelerate takes the current one
    return Accelerator(mixed_precision=spec.precision, cpu=device == "cpu")


FREE_TO_CHANGE = {"epochs", "steps", "workers", "save_every", "keep", "log_every"}
"""Options that a resumed run may have otherwise: they change no number, or extend the run."""


def _start(out: Path, model: Detector, optimizer: Optimizer, spec: TrainSpec, data: DetectionData, resume: bool) -> int:
    """Return the step to go on from, with the model and the optimiser put there."""
    found = checkpoints(out)
    if not found or not resume:
        if found:
            raise CheckpointError(f"{out} holds a run up to {found[-1].name}; go on with --resume, or give another --out")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot write to {out}: {error.strerror or error}") from error
        return 0
    state = read_state(found[-1])
    options = spec.model_dump(mode="json")
    changed = [k for k, v in options.items() if state.options.get(k) != v and k not in FREE_TO_CHANGE]
    changed += [f"data {k}" for k, v in _facts(data).items() if state.data.get(k) != v]
    if changed:
        raise CheckpointError(f"{found[-1]} is of a run with other settings ({', '.join(changed)}); use another --out")
    restore_checkpoint(found[-1], model, optimizer)
    return state.step


def _seed(seed: int, step: int, process: int) -> int:
    """Return the seed of a step's sampling; far apart for neighbours, and the same on every machine."""
    return int(np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0] >> 1)


def _set_rate(optimizer: Optimizer, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def _values(losses: Losses, step: int, batch: ImageBatch, out: Path) -> dict[str, float]:
    """Return the losses as numbers, in one copy from the device. Raises `TrainingError` if one is not finite."""
    values = dict(zip(losses, torch.stack([loss.detach().float() for loss in losses.values()]).tolist(), strict=True))
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        found = checkpoints(out)
        last = f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was written yet"
        raise TrainingError(
            f"step {step}: loss {', '.join(f'{name} = {values[name]}' for name in bad)} in {', '.join(batch.names)}; "
            f"stopped before it reached the weights; {last}. A lower learning rate or gradient clipping "
            "(--set train.clip=10) is the usual cure"
        )
    return values


def _facts(data: DetectionData) -> dict[str, Any]:
    return {"name": data.name, "split": data.split, "images": len(data), "class_names": list(data.class_names)}


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("zoo-core", "torch", "torchvision")}
