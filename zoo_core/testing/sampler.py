"""The contract of a sampler."""

from __future__ import annotations

from typing import Any

import torch

from zoo_core.build import build_part
from zoo_core.interfaces import Sampler
from zoo_core.testing import scenes
from zoo_core.testing.assigner import check_assignment
from zoo_core.testing.contract import Contract, Part, checked_spec
from zoo_core.testing.modules import seeded, unchanged
from zoo_core.testing.outcomes import equal
from zoo_core.types import Assignment

PRIORS = 2000


def check_sampler(part: Part, *, device: str = "cpu", **options: Any) -> None:
    """Check what every sampler promises: it leaves priors out, and changes nothing else.

    Args:
        part: a registered name, a dict with ``type``, or a spec.
        device: where it runs.
        **options: options of the part.

    Raises:
        ContractError: a promise that is not kept.
    """
    contract, spec = checked_spec("sampler", part, options)
    with contract.case("made from its spec"):
        sampler: Sampler = build_part("sampler", spec)
        contract.demand(callable(sampler), f"{type(sampler).__name__} cannot be called")
    for name, assignment in _assignments(device).items():
        with contract.case(name):
            _check(contract, sampler, assignment)


def _assignments(device: str) -> dict[str, Assignment]:
    shuffled = torch.randperm(PRIORS, generator=scenes.generator())
    free, none = torch.zeros(PRIORS, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
    some = free.clone()
    some[shuffled[1000:1500]] = True
    found = {
        "many pairs": Assignment(shuffled[:1000], torch.arange(1000) % 7, some),
        "a few pairs": Assignment(shuffled[:3], torch.arange(3), some),
        "several targets for a prior": Assignment(shuffled[:50].repeat(2), torch.arange(100), some),
        "no pairs": Assignment(none, none, some),
        "pairs, no background": Assignment(
            shuffled[:5], torch.arange(5), torch.ones_like(free).scatter(0, shuffled[:5], False)
        ),
        "all ignored": Assignment(none, none, ~free),
        "no priors": Assignment(none, none, free[:0]),
    }
    return {k: Assignment(a.priors.to(device), a.targets.to(device), a.ignored.to(device)) for k, a in found.items()}


def _check(contract: Contract, sampler: Sampler, given: Assignment) -> None:
    with unchanged(contract, assignment=given), seeded(1):
        found = sampler(given)
    targets = int(given.targets.max()) + 1 if len(given.targets) else 0
    check_assignment(contract, found, len(given.ignored), targets)
    known = {(p, t) for p, t in zip(given.priors.tolist(), given.targets.tolist(), strict=True)}
    invented = [pair for pair in zip(found.priors.tolist(), found.targets.tolist(), strict=True) if pair not in known]
    contract.demand(not invented, f"{len(invented)} pairs are new, the first {invented[:1]}; a sampler only leaves out")
    contract.demand(not (given.ignored & ~found.ignored).any(), "a prior that was ignored is trained on")
    background = torch.zeros_like(given.ignored)
    background[given.background()] = True
    contract.demand(background[found.background()].all(), "a prior that had a target, and was left out, is now background")
    with seeded(1):
        contract.demand(equal(found, sampler(given)), "the result differs for the same seed")
    with seeded(4):
        one = sampler(given, torch.Generator(given.ignored.device).manual_seed(2))
    with seeded(5):
        other = sampler(given, torch.Generator(given.ignored.device).manual_seed(2))
    contract.demand(equal(one, other), "the result differs for the same generator")
