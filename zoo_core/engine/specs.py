"""Options of a training run. The defaults are those of MMDetection's fine-tuning tutorial: batch of 2, rate 0.0025."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from typing_extensions import Self

from zoo_core.data.specs import AugmentSpec
from zoo_core.recipes import merge
from zoo_core.registry import find
from zoo_core.specs import Spec, validate


class TrainSpec(Spec):
    """A training run."""

    epochs: PositiveInt = Field(12, description="passes over the data; `steps` overrules them")
    steps: PositiveInt | None = Field(None, description="optimiser steps in all")
    batch_size: PositiveInt = Field(2, le=65536, description="images per step and process")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD with momentum, or AdamW")
    learning_rate: PositiveFloat = Field(0.0025, le=1e6, description="for the batch size that is given")
    momentum: NonNegativeFloat = Field(0.9, lt=1, description="of SGD; for AdamW its first beta")
    nesterov: bool = Field(False, description="sgd: with Nesterov's momentum")
    weight_decay: NonNegativeFloat = Field(0.0001, description="on the trained parameters")
    decay_all: bool = Field(True, description="weight decay on biases and norms as well; false: on weights alone")
    schedule: Literal["step", "cosine", "linear", "constant"] = Field("step", description="how the rate falls")
    final_rate: float = Field(0.0, ge=0, le=1, description="cosine, linear: the part of the rate that is left at the end")
    milestones: tuple[float, ...] = Field((8 / 12, 11 / 12), description="step: parts of the run after which it falls")
    decay: PositiveFloat = Field(0.1, description="step: by this factor")
    warmup_steps: NonNegativeInt = Field(0, description="the rate climbs linearly for so many steps")
    ema: float | None = Field(None, gt=0, lt=1, description="keep the moving average of the weights, with this decay")
    ema_ramp: PositiveInt = Field(2000, description="ema: steps over which the decay climbs; fewer in a short run")
    clip: PositiveFloat | None = Field(None, description="bound of the norm of the gradient")
    seed: NonNegativeInt = Field(0, lt=2**63, description="of the order of the images, their augmentation, and sampling")
    augment: AugmentSpec = AugmentSpec()
    workers: NonNegativeInt = Field(1, description="processes that load images")
    precision: Literal["no", "bf16", "fp16"] = Field("no", description="mixed precision of the forward pass")
    save_every: PositiveInt | None = Field(None, description="steps between checkpoints; by default an epoch, at least 100")
    keep: PositiveInt = Field(2, description="checkpoints that are kept")
    log_every: PositiveInt = Field(1, description="steps between lines of the log")
    skip_bad: bool = Field(False, description="leave out images that cannot be read, and count them")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.nesterov and self.optimizer != "sgd":
            raise ValueError(f"nesterov is an option of sgd, not of {self.optimizer}; with that, write nesterov=false as well")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def total_steps(self, images: int, processes: int = 1) -> int:
        """Return the number of optimiser steps for a data set of so many images."""
        return self.steps if self.steps is not None else -(-self.epochs * images // (self.batch_size * processes))

    def steps_per_epoch(self, images: int, processes: int = 1) -> int:
        """Return the number of steps in which every image is seen once."""
        return max(-(-images // (self.batch_size * processes)), 1)

    def steps_per_checkpoint(self, images: int, processes: int = 1) -> int:
        """Return the number of steps between checkpoints."""
        return self.save_every or max(self.steps_per_epoch(images, processes), 100)


def training_of(recipe: str, options: Mapping[str, Any] | None = None) -> TrainSpec:
    """Return the training that a recipe is published with, with `options` merged in; for a recipe that has none, the defaults.

    Raises:
        UnknownNameError: no recipe of that name.
        SpecError: options that do not fit, all of them.
    """
    published = find("detector", recipe).training() if recipe else {}
    return validate(TrainSpec, merge(published, options or {}))
