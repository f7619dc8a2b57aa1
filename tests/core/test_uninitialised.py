"""Parameters that a file will fill are made and not filled; all else is as ever."""

from __future__ import annotations

import threading

import torch
from torch import nn

from zoo_core.uninitialised import Uninitialised


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        nn.init.kaiming_normal_(self.layer.weight)
        self.scale = nn.Parameter(torch.empty(4))
        with torch.no_grad():
            self.scale.fill_(7.0)
        self.register_buffer("grid", torch.arange(4.0).mul_(2), persistent=False)


def test_no_random_number_is_drawn_and_nothing_is_filled() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with Uninitialised():
        part = Part()
        target = nn.Parameter(torch.tensor([1.0, 2.0]))
        with torch.no_grad():
            target.fill_(5.0)
        nn.init.ones_(target)
    assert torch.equal(torch.get_rng_state(), before)
    assert target.tolist() == [1.0, 2.0]
    assert part.layer.weight.shape == (8, 3, 3, 3)
    assert part.layer.weight.requires_grad


def test_buffers_are_made_as_ever() -> None:
    with Uninitialised():
        part = Part()
    assert part.grid.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert part.norm.running_var.tolist() == [1.0] * 8


def test_the_layout_is_what_it_would_be() -> None:
    with Uninitialised():
        found = Part().to(memory_format=torch.channels_last)
    due = Part().to(memory_format=torch.channels_last)
    for name, tensor in due.state_dict().items():
        assert found.state_dict()[name].stride() == tensor.stride(), name
    with Uninitialised():
        assert Part().to(torch.float64).layer.weight.dtype == torch.float64


def test_another_thread_fills_its_parameters() -> None:
    found: list[nn.Parameter] = []

    def elsewhere() -> None:
        with torch.no_grad():
            found.append(nn.Parameter(torch.zeros(2)).fill_(5.0))

    with Uninitialised():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert found[0].tolist() == [5.0, 5.0]


def test_afterwards_all_is_as_before() -> None:
    with Uninitialised():
        pass
    assert nn.init.constant_(nn.Parameter(torch.zeros(2)), 3.0).tolist() == [3.0, 3.0]
