"""The optimiser and the learning rate."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from zoo_core.engine.optim import make_optimizer, optimizer_tensors, rate_at, restore_optimizer
from zoo_core.engine.specs import TrainSpec
from zoo_core.errors import CheckpointError, SpecError


def test_the_step_schedule_falls_after_eight_and_eleven_twelfths() -> None:
    rates = [rate_at(step, 120, TrainSpec(learning_rate=1.0)) for step in (0, 79, 80, 109, 110, 119)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_rate_climbs_during_warm_up() -> None:
    spec = TrainSpec(learning_rate=1.0, schedule="constant", warmup_steps=4)
    assert [rate_at(step, 100, spec) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


def test_the_cosine_schedule_ends_near_zero() -> None:
    spec = TrainSpec(learning_rate=2.0, schedule="cosine")
    assert [rate_at(step, 10, spec) for step in (0, 5, 10)] == pytest.approx([2, 1, 0])


@pytest.mark.parametrize(("schedule", "middle"), [("linear", 1.1), ("cosine", 1.1)])
def test_a_part_of_the_rate_is_left_at_the_end(schedule: str, middle: float) -> None:
    spec = TrainSpec(learning_rate=2.0, schedule=schedule, final_rate=0.1)  # type: ignore[arg-type]
    assert [rate_at(step, 10, spec) for step in (0, 5, 10)] == pytest.approx([2, middle, 0.2])


def test_the_linear_schedule_falls_evenly_after_warm_up() -> None:
    spec = TrainSpec(learning_rate=1.0, schedule="linear", warmup_steps=1)
    assert [rate_at(step, 4, spec) for step in range(5)] == pytest.approx([0.5, 0.75, 0.5, 0.25, 0])


def test_the_cosine_that_ends_at_nothing_is_the_plain_one_to_the_bit() -> None:
    spec = TrainSpec(learning_rate=0.0025, schedule="cosine")
    plain = [0.0025 * (0.5 * (1 + math.cos(math.pi * step / 97))) for step in range(97)]
    assert [rate_at(step, 97, spec) for step in range(97)] == plain


def mixed() -> nn.Module:
    """Return a model with what decays, what does not, and a frozen layer."""
    frozen = nn.Linear(3, 3).requires_grad_(False)
    parts: dict[str, nn.Module] = {"conv": nn.Conv2d(3, 4, 1), "up": nn.ConvTranspose2d(4, 4, 2), "norm": nn.BatchNorm2d(4)}
    parts |= {"linear": nn.Linear(4, 2), "group": nn.GroupNorm(2, 4), "scale": nn.ParameterList([torch.ones(4, 1)])}
    return nn.ModuleDict(parts | {"frozen": frozen})


def test_weight_decay_can_be_on_weights_alone() -> None:
    model = mixed()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, TrainSpec(weight_decay=0.5, decay_all=False))
    decays = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, decay in decays.items() if decay == 0.5} == {"conv.weight", "up.weight", "linear.weight"}
    others = {"conv.bias", "up.bias", "linear.bias", "norm.weight", "norm.bias", "group.weight", "group.bias", "scale.0"}
    assert {name for name, decay in decays.items() if decay == 0} == others
    (only,) = make_optimizer(model, TrainSpec(weight_decay=0.5)).param_groups
    assert only["weight_decay"] == 0.5
    assert [names[id(p)] for p in only["params"]] == [name for name in names.values() if not name.startswith("frozen")]


def test_a_weight_that_two_layers_share_is_trained_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    (only,) = make_optimizer(model, TrainSpec(decay_all=False)).param_groups
    assert len(only["params"]) == 1


def test_the_options_reach_the_optimiser() -> None:
    sgd = make_optimizer(mixed(), TrainSpec(momentum=0.8, nesterov=True, learning_rate=0.1))
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"], sgd.defaults["lr"]) == (0.8, True, 0.1)
    adamw = make_optimizer(mixed(), TrainSpec(optimizer="adamw", momentum=0.8, weight_decay=0.05))
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.defaults["betas"], adamw.defaults["weight_decay"]) == ((0.8, 0.999), 0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"nesterov": True, "optimizer": "adamw"},
            "nesterov is an option of sgd, not of adamw; with that, write nesterov=false as well",
        ),
        ({"nesterov": True, "momentum": 0}, "nesterov needs a momentum above 0"),
        ({"ema": 1.0}, "ema: input should be less than 1"),
        ({"ema": 0.0}, "ema: input should be greater than 0"),
        ({"ema_ramp": 0}, "ema_ramp: input should be greater than 0"),
        ({"final_rate": 1.5}, "final_rate: input should be less than or equal to 1"),
        ({"schedule": "liner"}, "schedule: input should be 'step', 'cosine', 'linear' or 'constant'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        TrainSpec(**options)


def test_steps_follow_from_epochs() -> None:
    assert TrainSpec(epochs=12, batch_size=2).total_steps(50) == 300
    assert TrainSpec(epochs=1, batch_size=2).total_steps(5) == 3
    assert TrainSpec(epochs=3, batch_size=2).total_steps(5, processes=2) == 4
    assert TrainSpec(steps=7).total_steps(5) == 7


@pytest.mark.parametrize(
    ("options", "entries"),
    [({}, {"momentum_buffer"}), ({"optimizer": "adamw", "learning_rate": 0.1}, {"exp_avg", "exp_avg_sq", "step"})],
    ids=["sgd", "adamw"],
)
def test_the_state_survives_a_round_trip_by_name(options: dict[str, Any], entries: set[str]) -> None:
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [make_optimizer(model, TrainSpec(**options)) for model in models]
    models[0](torch.ones(1, 3)).sum().backward()
    optimizers[0].step()
    models[1].load_state_dict(models[0].state_dict())
    tensors = optimizer_tensors(models[0], optimizers[0])
    assert set(tensors) == {f"{k}.{leaf}|{entry}" for k in (0, 1) for leaf in ("weight", "bias") for entry in entries}
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
