"""The moving average of the weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from zoo_core.engine.ema import Average, decay_at
from zoo_core.engine.specs import TrainSpec


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).train()


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def change(model: nn.Module) -> None:
    """Move weights and statistics, as a step does."""
    model(torch.rand(2, 3, 8, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_the_decay_climbs_to_what_is_asked_for() -> None:
    spec = TrainSpec(ema=0.999)
    long = 1_000_000
    assert [decay_at(update, long, spec) for update in (1, 2000, 4000)] == pytest.approx(
        [0.999 * (1 - math.exp(-x)) for x in (0.0005, 1, 2)]
    )
    assert decay_at(long, long, spec) == pytest.approx(0.999)
    assert decay_at(100, long, TrainSpec(ema=0.999, ema_ramp=100)) == pytest.approx(0.999 * (1 - math.exp(-1)))
    assert decay_at(100, long, TrainSpec()) == 0


@pytest.mark.parametrize("total", [100, 300, 1000, 10_000])
def test_a_short_run_ends_with_an_average_over_a_twentieth_of_it(total: int) -> None:
    assert 1 / (1 - decay_at(total, total, TrainSpec(ema=0.999999))) == pytest.approx(total / 20, rel=0.01)


@pytest.mark.parametrize("total", [1, 2, 10, 30, 54])
def test_the_shortest_runs_average_a_little(total: int) -> None:
    decays = [decay_at(update, total, TrainSpec(ema=0.9999)) for update in range(1, total + 1)]
    assert decays[-1] == pytest.approx(0.9999 * (1 - math.exp(-1)))
    assert decays == sorted(decays)


def test_the_average_is_that_of_a_plain_loop() -> None:
    model, spec = small(), TrainSpec(ema=0.9, ema_ramp=3)
    average, mean = Average(model), copy_of(model)
    for update in range(1, 8):
        change(model)
        average.update(1000, spec)
        decay = 0.9 * (1 - math.exp(-update / 3))
        for name, tensor in model.state_dict().items():
            mean[name] = decay * mean[name] + (1 - decay) * tensor if tensor.is_floating_point() else tensor.clone()
    assert average.updates == 7
    now = copy_of(model)
    torch.testing.assert_close(average.state(), mean)
    assert all(torch.equal(tensor, now[name]) for name, tensor in model.state_dict().items()), "the model is left alone"
    assert list(average.state()) == list(now)
    average.install()
    torch.testing.assert_close(copy_of(model), mean)
    assert model[1].num_batches_tracked == 7
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_does_not_change_is_its_own_average_to_the_bit() -> None:
    model = small()
    average, before = Average(model), copy_of(model)
    for _ in range(20):
        average.update(20, TrainSpec(ema=0.9))
    assert all(torch.equal(tensor, before[name]) for name, tensor in average.state().items())


def test_the_average_begins_anew() -> None:
    model = small()
    average = Average(model)
    average.update(10, TrainSpec(ema=0.9))
    change(model)
    average.restart(5)
    assert average.updates == 5
    change(model)
    held = average.state()
    assert not torch.equal(held["0.weight"], model[0].weight)
    average.restart()
    assert average.updates == 0
    assert torch.equal(average.state()["0.weight"], model[0].weight)


def test_a_buffer_that_a_layer_puts_anew_is_followed() -> None:
    model = small()
    average = Average(model)
    model[1].running_mean = torch.full((4,), 8.0)
    average.update(1000, TrainSpec(ema=0.5, ema_ramp=1))
    decay = 0.5 * (1 - math.exp(-1))
    torch.testing.assert_close(average.state()["1.running_mean"], torch.full((4,), 8 * (1 - decay)))
