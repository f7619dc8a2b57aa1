"""The optimiser and the learning rate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo_core.engine.optim import make_optimizer, optimizer_tensors, rate_at, restore_optimizer
from zoo_core.engine.specs import TrainSpec
from zoo_core.errors import CheckpointError


def test_the_step_schedule_falls_after_eight_and_eleven_twelfths() -> None:
    rates = [rate_at(step, 120, TrainSpec(learning_rate=1.0)) for step in (0, 79, 80, 109, 110, 119)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_rate_climbs_during_warm_up() -> None:
    spec = TrainSpec(learning_rate=1.0, schedule="constant", warmup_steps=4)
    assert [rate_at(step, 100, spec) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


def test_the_cosine_schedule_ends_near_zero() -> None:
    spec = TrainSpec(learning_rate=2.0, schedule="cosine")
    assert [rate_at(step, 10, spec) for step in (0, 5, 10)] == pytest.approx([2, 1, 0])


def test_steps_follow_from_epochs() -> None:
    assert TrainSpec(epochs=12, batch_size=2).total_steps(50) == 300
    assert TrainSpec(epochs=1, batch_size=2).total_steps(5) == 3
    assert TrainSpec(epochs=3, batch_size=2).total_steps(5, processes=2) == 4
    assert TrainSpec(steps=7).total_steps(5) == 7


def test_momenta_survive_a_round_trip_by_name() -> None:
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [make_optimizer(model, TrainSpec()) for model in models]
    models[0](torch.ones(1, 3)).sum().backward()
    optimizers[0].step()
    models[1].load_state_dict(models[0].state_dict())
    tensors = optimizer_tensors(models[0], optimizers[0])
    assert set(tensors) == {f"{k}.{leaf}|momentum_buffer" for k in (0, 1) for leaf in ("weight", "bias")}
    restore_optimizer(models[1], optimizers[1], tensors, 1)
    for model, optimizer in zip(models, optimizers, strict=True):
        optimizer.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_momenta_of_another_model_are_refused() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(CheckpointError, match="the optimiser's state of 'other' does not fit"):
        restore_optimizer(model, make_optimizer(model, TrainSpec()), {"other|momentum_buffer": torch.zeros(2, 3)}, 1)
