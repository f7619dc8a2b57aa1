"""The exponential moving average of a model's weights: what a run with `ema` ships, evaluates and leaves behind.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992), in the exponential form that the YOLO
family trains with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo_core.engine.specs import TrainSpec

REACH = 20
"""The average of a short run reaches back over one part in so many of it."""


def decay_at(update: int, total: int, spec: TrainSpec) -> float:
    """Return the decay of an update, counted from 1, in a run of `total` steps; 0 where no average is kept.

    It climbs as ``ema * (1 - exp(-update / ramp))``: early weights are soon forgotten. The average reaches back over about
    ``1 / (1 - decay)`` steps, so with the `ema_ramp` of a long run a short one would end before it averages anything. The
    ramp is therefore ``total / log(total / 20)`` at most, with which the average reaches over the last twentieth of the run.
    """
    ramp = min(spec.ema_ramp, total / max(math.log(total / REACH), 1.0))
    return (spec.ema or 0.0) * (1 - math.exp(-update / ramp))


class Average:
    """The average of a model's floating state, parameters and buffers; counts (integer buffers) are the model's own.

    It lives on the model's device, and begins with what the model holds.

    Attributes:
        updates: how often it was taken further.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.restart()

    def _floating(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self._model.state_dict().items() if tensor.is_floating_point()}

    def restart(self, updates: int = 0) -> None:
        """Take what the model holds now for the average after so many updates."""
        self.updates = updates
        self._mean = {name: tensor.clone() for name, tensor in self._floating().items()}

    @torch.no_grad()
    def update(self, total: int, spec: TrainSpec) -> None:
        """Take the average towards what the model holds now, after a step of a run of `total` steps."""
        self.updates += 1
        weight = 1 - decay_at(self.updates, total, spec)
        torch._foreach_lerp_(list(self._mean.values()), list(self._floating().values()), weight)

    def state(self) -> dict[str, Tensor]:
        """Return the state of the model with the average in it, under the model's names."""
        return self._model.state_dict() | self._mean

    @torch.no_grad()
    def install(self) -> None:
        """Put the average into the model."""
        torch._foreach_copy_(list(self._floating().values()), list(self._mean.values()))
