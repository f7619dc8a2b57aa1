"""The optimiser, and the learning rate as a function of the step alone: there is no state to save but the momenta."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from zoo_core.engine.specs import TrainSpec
from zoo_core.errors import CheckpointError, TrainingError


def make_optimizer(model: nn.Module, spec: TrainSpec) -> Optimizer:
    """Return SGD over the trained parameters."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise TrainingError("no parameter is trained: everything is frozen")
    return SGD(trained, lr=spec.learning_rate, momentum=spec.momentum, weight_decay=spec.weight_decay)


def rate_at(step: int, total: int, spec: TrainSpec) -> float:
    """Return the learning rate of a step, counted from 0."""
    rate = spec.learning_rate
    if spec.schedule == "step":
        rate *= spec.decay ** sum(step >= round(part * total) for part in spec.milestones)
    elif spec.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * step / max(total, 1)))
    return rate * min((step + 1) / (spec.warmup_steps + 1), 1.0)


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimiser as tensors, named ``PARAMETER|ENTRY``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}|{entry}": value.detach()
        for parameter, state in optimizer.state.items()
        for entry, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(model: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, entry = key.partition("|")
        fits = name in parameters and entry == "momentum_buffer" and parameters[name].shape == value.shape
        if not fits or not value.isfinite().all():
            raise CheckpointError(f"the optimiser's state of '{name}' does not fit the model, or is damaged")
        optimizer.state[parameters[name]][entry] = torch.empty_like(parameters[name].detach()).copy_(value)
