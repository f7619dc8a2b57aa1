"""What every learned part promises: seeds decide, weights can be saved, gradients arrive, inputs stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from zoo_core.testing.contract import Contract
from zoo_core.testing.outcomes import equal, tensors

M = TypeVar("M", bound=nn.Module)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block from a seed; the caller's own random numbers go on as if nothing had been."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def made(make: Callable[[], M], seed: int) -> M:
    """Return a new module whose weights come from a seed."""
    with seeded(seed):
        return make()


def check_module(contract: Contract, make: Callable[[], M], result: Callable[[M], Any]) -> M:
    """Check what `result` gives for modules that `make` makes, in evaluation; return one in training mode."""
    first, same, other = made(make, 1), made(make, 1), made(make, 2)
    trainable = _trained(first)
    for module in (first, same, other):
        module.eval()
    with contract.case("two of the same seed"):
        contract.demand(equal(first.state_dict(), same.state_dict()), "their weights differ; torch's seed must decide them")
    wanted = _result(first, result)
    with contract.case("the same input again"):
        contract.demand(equal(wanted, _result(first, result)), "the result differs; in evaluation it must not depend on chance")
    with contract.case("weights saved and loaded"):
        state = first.state_dict()
        strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
        contract.demand(not strange, f"{', '.join(strange)} is no tensor; a state dict holds tensors alone")
        other.load_state_dict(state)
        contract.demand(equal(wanted, _result(other, result)), "the result differs; something that matters is not in the state")
    with contract.case("a deep copy"):
        contract.demand(equal(wanted, _result(copy.deepcopy(first), result)), "the result differs from the original's")
    with contract.case("switched to training"):
        changed = trainable ^ _trained(first.train())
        contract.demand(not changed, f"whether {', '.join(sorted(changed))} is trained changes; that is the spec's to say")
    return first


def _trained(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def _result(module: M, result: Callable[[M], Any]) -> Any:
    with seeded(3), torch.no_grad():
        return result(module)


def check_gradients(contract: Contract, module: nn.Module, objective: Tensor) -> None:
    """Check that the objective reaches every parameter that is trained, and no other."""
    contract.demand(objective.requires_grad, "the sum of the losses has no gradient")
    module.zero_grad()
    objective.backward()  # type: ignore[no-untyped-call]
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            contract.demand(parameter.grad is None, f"frozen parameter '{name}' gets a gradient")
            continue
        contract.demand(parameter.grad is not None, f"parameter '{name}' is to be trained, and gets no gradient")
        contract.demand(parameter.grad.isfinite().all(), f"the gradient of parameter '{name}' is not finite")  # type: ignore[union-attr]


@contextmanager
def unchanged(contract: Contract, **inputs: Any) -> Iterator[None]:
    """Demand that a block leaves its inputs as they are: others read them, too."""
    before: Mapping[str, list[Tensor]] = {name: [t.detach().clone() for t in tensors(value)] for name, value in inputs.items()}
    yield
    for name, value in inputs.items():
        contract.demand(equal(before[name], [t.detach() for t in tensors(value)]), f"the {name} handed in must not be changed")
