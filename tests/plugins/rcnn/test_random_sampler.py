from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo_core.types import Assignment
from zoo_rcnn.random_sampler import RandomSampler
from zoo_rcnn.specs import RandomSamplerSpec


def assignment(positive: int, background: int, ignored: int, seed: int = 0) -> Assignment:
    """Return priors in a random order, the pairs too."""
    count = positive + background + ignored
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    left_out = torch.zeros(count, dtype=torch.bool)
    left_out[order[positive + background :]] = True
    return Assignment(order[:positive], torch.arange(positive) % 5, left_out)


def sampled(given: Assignment, seed: int = 0, **options: Any) -> Assignment:
    return RandomSampler(RandomSamplerSpec(**options))(given, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("positive", "background", "options", "counts"),
    [
        (20, 500, {}, (20, 236)),
        (300, 500, {}, (128, 128)),
        (300, 10, {}, (128, 10)),
        (0, 500, {}, (0, 256)),
        (0, 0, {}, (0, 0)),
        (300, 500, {"count": 512, "positive_share": 0.25}, (128, 384)),
        (300, 500, {"count": 1, "positive_share": 0.5}, (0, 1)),
        (300, 500, {"positive_share": 0.0}, (0, 256)),
        (300, 500, {"count": 1000, "positive_share": 1.0}, (300, 500)),
        (20, 500, {"most_negatives_per_positive": 3}, (20, 60)),
        (0, 500, {"most_negatives_per_positive": 3}, (0, 3)),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_counts(positive: int, background: int, options: dict[str, Any], counts: tuple[int, int], seed: int) -> None:
    given = assignment(positive, background, 40, seed)
    found = sampled(given, seed, **options)
    assert (len(found.priors), len(found.background())) == counts


@pytest.mark.parametrize("seed", range(3))
def test_pairs_stay_pairs_and_the_rest_is_ignored(seed: int) -> None:
    given = assignment(200, 500, 40, seed)
    found = sampled(given, seed)
    of = dict(zip(given.priors.tolist(), given.targets.tolist(), strict=True))
    assert {p: of[p] for p in found.priors.tolist()} == dict(zip(found.priors.tolist(), found.targets.tolist(), strict=True))
    assert set(found.background().tolist()) <= set(given.background().tolist())
    assert int(found.ignored.sum()) == len(given.ignored) - 256
    assert found.priors.tolist() == sorted(found.priors.tolist())


def test_everything_is_kept_when_there_is_little() -> None:
    given = assignment(3, 4, 2)
    found = sampled(given)
    assert found.priors.tolist() == sorted(given.priors.tolist())
    assert torch.equal(found.background(), given.background())
    assert torch.equal(found.ignored, given.ignored)


def test_the_seed_decides() -> None:
    given = assignment(200, 500, 0)
    first, again, other = (sampled(given, seed) for seed in (1, 1, 2))
    assert torch.equal(first.ignored, again.ignored)
    assert not torch.equal(first.ignored, other.ignored)


def test_every_prior_has_the_same_chance() -> None:
    given = assignment(20, 40, 0)
    times = torch.zeros(60)
    for seed in range(400):
        times[~sampled(given, seed, count=20, positive_share=0.5).ignored] += 1
    assert times[given.priors].min() > 150  # of 200 on average
    assert times[given.priors].max() < 250
    assert times[given.background()].min() > 60  # of 100
    assert times[given.background()].max() < 140


def test_the_given_assignment_stays() -> None:
    given = assignment(300, 500, 10)
    before = given.priors.clone(), given.ignored.clone()
    sampled(given)
    assert torch.equal(given.priors, before[0])
    assert torch.equal(given.ignored, before[1])
