"""Random sampling of matched priors (Ren et al., "Faster R-CNN", 2015, section 3.1.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.types import Assignment
from zoo_rcnn.specs import RandomSamplerSpec


class RandomSampler:
    """At most `count` priors, at most `positive_share` of them positive; background fills what positives leave."""

    def __init__(self, spec: RandomSamplerSpec) -> None:
        self.spec = spec

    def __call__(self, assignment: Assignment, generator: torch.Generator | None = None) -> Assignment:
        """Return the assignment with the priors that are left out marked as ignored; indices ascend."""
        spec = self.spec
        order = assignment.priors.argsort()
        positive = _draw(order, int(spec.count * spec.positive_share), generator)
        positive = positive[assignment.priors[positive].argsort()]
        negatives = spec.count - len(positive)
        if spec.most_negatives_per_positive is not None:
            negatives = min(negatives, int(spec.most_negatives_per_positive * max(len(positive), 1)))
        background = _draw(assignment.background(), negatives, generator)
        priors = assignment.priors[positive]
        ignored = torch.ones_like(assignment.ignored)
        ignored[priors] = False
        ignored[background] = False
        return Assignment(priors, assignment.targets[positive], ignored)


def _draw(items: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Return `count` of the items, or all when there are no more."""
    if len(items) <= count:
        return items
    return items[torch.randperm(len(items), generator=generator, device=items.device)[:count]]
