"""The optimiser, and the learning rate as a function of the step alone: there is no state to save but the optimiser's own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import SGD, AdamW, Optimizer

from zoo_core.engine.specs import TrainSpec
from zoo_core.errors import CheckpointError, TrainingError

SGD_STATE = {"momentum_buffer"}
ADAMW_STATE = {"exp_avg", "exp_avg_sq", "step"}


def make_optimizer(model: nn.Module, spec: TrainSpec) -> Optimizer:
    """Return SGD, or AdamW (Loshchilov and Hutter 2019), over the trained parameters.

    Raises:
        TrainingError: there are none.
    """
    groups = _groups(model, spec)
    if not groups:
        raise TrainingError("no parameter is trained: everything is frozen")
    if spec.optimizer == "adamw":
        return AdamW(groups, lr=spec.learning_rate, betas=(spec.momentum, 0.999), weight_decay=spec.weight_decay)
    return SGD(groups, lr=spec.learning_rate, momentum=spec.momentum, weight_decay=spec.weight_decay, nesterov=spec.nesterov)


def _groups(model: nn.Module, spec: TrainSpec) -> list[dict[str, object]]:
    """Return the trained parameters: those that decay as the spec says, and those that do not decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = {id(part.weight) for part in model.modules() if isinstance(part, _ConvNd | nn.Linear)}
    decayed = [parameter for parameter in trained if spec.decay_all or id(parameter) in weights]
    others = [parameter for parameter in trained if not (spec.decay_all or id(parameter) in weights)]
    groups: list[dict[str, object]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def rate_at(step: int, total: int, spec: TrainSpec) -> float:
    """Return the learning rate of a step, counted from 0."""
    rate = spec.learning_rate
    if spec.schedule == "step":
        rate *= spec.decay ** sum(step >= round(part * total) for part in spec.milestones)
    elif spec.schedule == "cosine":
        rate *= spec.final_rate + (1 - spec.final_rate) * (0.5 * (1 + math.cos(math.pi * step / max(total, 1))))
    elif spec.schedule == "linear":
        rate *= spec.final_rate + (1 - spec.final_rate) * (1 - step / max(total, 1))
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


def restore_optimizer(model: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor], steps: int) -> None:
    """Put back what `optimizer_tensors` returned after so many steps.

    Raises:
        CheckpointError: it is of another model or optimiser, or damaged. The optimiser is then as it was.
    """
    parameters = dict(model.named_parameters())
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, entry = key.partition("|")
        found.setdefault(name, {})[entry] = value
    entries = ADAMW_STATE if isinstance(optimizer, AdamW) else SGD_STATE
    for name, state in found.items():
        if name not in parameters or set(state) != entries or not _sound(state, parameters[name], steps):
            raise CheckpointError(f"the optimiser's state of '{name}' does not fit the model, or is damaged")
    for name, state in found.items():
        like = parameters[name].detach()
        # AdamW keeps its count of steps on the CPU; the rest lies in memory as the parameter does.
        optimizer.state[parameters[name]].update(
            (entry, value.clone() if entry == "step" else torch.empty_like(like).copy_(value)) for entry, value in state.items()
        )


def _sound(state: dict[str, Tensor], parameter: Tensor, steps: int) -> bool:
    """Return whether the state of a parameter has its shape and only numbers that can be right after so many steps."""
    for entry, value in state.items():
        shape = torch.Size() if entry == "step" else parameter.shape
        if value.shape != shape or not value.is_floating_point() or not value.isfinite().all():
            return False
        if entry == "exp_avg_sq" and (value < 0).any():
            return False
        if entry == "step" and not (1 <= float(value) <= steps and float(value).is_integer()):
            return False
    return True
