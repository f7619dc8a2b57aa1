"""The contract of an assigner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo_core.build import build_part
from zoo_core.interfaces import Assigner
from zoo_core.testing import scenes
from zoo_core.testing.contract import Contract, Part, checked_spec
from zoo_core.testing.modules import unchanged
from zoo_core.testing.outcomes import equal
from zoo_core.types import Assignment, Detections, Size, Targets

CLASSES = 3


def check_assigner(part: Part, *, device: str = "cpu", **options: Any) -> None:
    """Check what every assigner promises.

    Args:
        part: a registered name, a dict with ``type``, or a spec.
        device: where it runs.
        **options: options of the part.

    Raises:
        ContractError: a promise that is not kept.
    """
    contract, spec = checked_spec("assigner", part, options)
    with contract.case("made from its spec"):
        assigner: Assigner = build_part("assigner", spec)
        contract.demand(callable(assigner), f"{type(assigner).__name__} cannot be called")
    size = scenes.SIZES[0]
    for priors_name, priors in _priors(size).items():
        for name, scene in scenes.awkward(CLASSES).items():
            with contract.case(name), contract.case(priors_name):
                _check(contract, assigner, priors.to(device), scene[0].to(device))


def _priors(size: Size) -> dict[str, Tensor]:
    spread = scenes.boxes(300, size, seed=5)
    edge = torch.tensor([[-20.0, -20, 5, 5], [3.0, 3, 3, 3], [0.0, 0, size[1] * 2, size[0] * 2]])
    return {"300 priors": spread, "1 prior": spread[:1], "no priors": spread[:0], "priors outside and without area": edge}


def _check(contract: Contract, assigner: Assigner, priors: Tensor, targets: Targets) -> None:
    count = len(priors)
    predictions = Detections(
        priors + 0.5,
        torch.rand(count, generator=scenes.generator()).to(priors.device),
        torch.zeros(count, dtype=torch.int64, device=priors.device),
    )
    strides = torch.full((count,), 8.0, device=priors.device)
    with unchanged(contract, priors=priors, targets=targets, predictions=predictions, strides=strides):
        found = assigner(priors, targets, predictions, strides)
    check_assignment(contract, found, count, len(targets))
    contract.demand(found.ignored.device == priors.device, f"the result is on {found.ignored.device}, not on {priors.device}")
    contract.demand(equal(found, assigner(priors, targets, predictions, strides)), "the result differs when asked again")


def check_assignment(contract: Contract, found: Any, priors: int, targets: int) -> None:
    """Check what holds for every assignment of so many priors and targets."""
    contract.demand(isinstance(found, Assignment), f"the result is a {type(found).__name__}, not an Assignment")
    contract.demand(len(found.ignored) == priors, f"`ignored` has {len(found.ignored)} places for {priors} priors")
    for name, index, bound in (("prior", found.priors, priors), ("target", found.targets, targets)):
        inside = ((index >= 0) & (index < bound)).all()
        contract.demand(inside, f"the {name}s of the pairs must lie in 0 … {bound - 1}; some do not")
    pairs = list(zip(found.priors.tolist(), found.targets.tolist(), strict=True))
    contract.demand(len(set(pairs)) == len(pairs), "a pair of prior and target occurs twice")
    contract.demand(not found.ignored[found.priors].any(), "a prior is in a pair and ignored; it can be only one of them")
