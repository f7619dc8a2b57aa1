from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import box_area, box_iou

from tests.plugins.rcnn.draw import boxes, targets
from zoo_core.types import ANY_LABEL, Assignment, Targets
from zoo_rcnn.max_iou import MaxIoU
from zoo_rcnn.specs import MaxIoUSpec

RPN = MaxIoUSpec(positive=0.7, negative=0.3, low_quality=True)


def owners(found: Assignment) -> list[int]:
    """Return for each prior its target, -1 for background, -2 for ignored."""
    result = torch.where(found.ignored, -2, -1)
    result[found.priors] = found.targets
    return [int(owner) for owner in result]


def by_hand(spec: MaxIoUSpec, priors: Tensor, goals: Tensor, left_out: Tensor) -> list[int]:
    """Return the same as `owners`, one prior and one target at a time."""
    overlaps = box_iou(goals, priors).double()
    overlaps[:, left_out] = -1
    low, high = (0.0, spec.negative) if isinstance(spec.negative, float) else spec.negative
    result = []
    for prior in range(len(priors)):
        column = overlaps[:, prior].tolist()
        best = max(column, default=0.0)
        result.append(column.index(best) if best >= spec.positive and column else -1 if low <= best < high else -2)
    if spec.low_quality:
        for goal in range(len(goals)):
            row = overlaps[goal].tolist()
            best = max(row, default=-1.0)
            ties = [prior for prior, overlap in enumerate(row) if overlap == best]
            for prior in ties if spec.all_ties else ties[:1]:
                if best >= spec.least_low_quality and best > 0:
                    result[prior] = goal
    return result


def shares(priors: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares (A, R) of each prior in each region, and of each region in each prior."""
    low, high = torch.maximum(priors[:, None, :2], regions[:, :2]), torch.minimum(priors[:, None, 2:], regions[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=2)
    return common / box_area(priors)[:, None], common / box_area(regions)


SPECS = [
    RPN,
    MaxIoUSpec(),
    MaxIoUSpec(positive=0.5, negative=0.4, low_quality=True, least_low_quality=0.0),
    MaxIoUSpec(positive=0.6, negative=(0.1, 0.4), low_quality=True, all_ties=False),
    MaxIoUSpec(positive=0.5, negative=0.5, ignore=0.5),
    MaxIoUSpec(positive=0.5, negative=0.3, low_quality=True, ignore=0.3, ignore_share_of="region"),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_like_one_at_a_time(spec: MaxIoUSpec, seed: int) -> None:
    priors = torch.cat([boxes(150, seed, least=10), boxes(10, seed, least=10)])  # some of them twice: ties
    goals = targets(6, seed + 50)
    regions = boxes(2, seed + 99, least=20)
    given = Targets(goals.boxes, goals.labels, regions, torch.full((2,), ANY_LABEL))
    left_out = torch.zeros(len(priors), dtype=torch.bool)
    if spec.ignore is not None:
        shared = (
            torch.minimum(priors[:, None, 2:], regions[:, 2:]) - torch.maximum(priors[:, None, :2], regions[:, :2])
        ).clamp(0)
        whole = priors[:, None] if spec.ignore_share_of == "prior" else regions
        left_out = (shared.prod(2) / (whole[..., 2:] - whole[..., :2]).prod(-1)).amax(1) > spec.ignore
    found = MaxIoU(spec)(priors, given)
    assert owners(found) == by_hand(spec, priors, goals.boxes, left_out)
    assert not found.ignored[found.priors].any()


def test_borders_belong_to_the_objects() -> None:
    goal = torch.tensor([[0.0, 0, 10, 10]])
    priors = torch.tensor([[0.0, 0, 10, 7], [0, 0, 10, 6.9], [0, 0, 10, 3], [0, 0, 10, 2.9], [20, 20, 30, 30]])
    spec = MaxIoUSpec(positive=0.7, negative=0.3)
    assert owners(MaxIoU(spec)(priors, Targets(goal, torch.tensor([0])))) == [0, -2, -2, -1, -1]


def test_a_later_target_overrules_an_earlier_one() -> None:
    same = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    found = MaxIoU(RPN)(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]]), Targets(same, torch.tensor([1, 2])))
    assert owners(found) == [1, 0]  # of the best overlap the first; rescued by the last


def test_a_target_takes_the_best_prior_outside_an_ignored_region() -> None:
    """The better prior lies in the region, so the other one answers for the target."""
    goal, region = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 8]])
    priors = torch.tensor([[0.0, 0, 10, 8], [0.0, 4, 10, 10]])
    given = Targets(goal, torch.tensor([0]), region, torch.tensor([ANY_LABEL]))
    found = MaxIoU(MaxIoUSpec(positive=0.7, negative=0.3, low_quality=True, ignore=0.9))(priors, given)
    assert owners(found) == [-2, 0]


def test_ignored_regions_hold_without_targets() -> None:
    given = Targets(ignored=torch.tensor([[0.0, 0, 10, 10]]), ignored_labels=torch.tensor([ANY_LABEL]))
    found = MaxIoU(MaxIoUSpec(ignore=0.5))(torch.tensor([[0.0, 0, 5, 5], [20, 20, 30, 30]]), given)
    assert owners(found) == [-2, -1]
    assert owners(MaxIoU(MaxIoUSpec())(torch.tensor([[0.0, 0, 5, 5]]), given)) == [-1]  # unless asked for


@pytest.mark.parametrize("spec", [RPN, MaxIoUSpec(ignore=0.5)])
@pytest.mark.parametrize(("priors", "goals"), [(0, 0), (0, 3), (5, 0), (1, 1)])
def test_nothing_to_match(spec: MaxIoUSpec, priors: int, goals: int) -> None:
    found = MaxIoU(spec)(boxes(priors, 1), targets(goals, 2))
    assert found.ignored.shape == (priors,)
    if not priors * goals:
        assert not len(found.priors)
        assert len(found.background()) == priors


def test_targets_without_area_get_no_prior() -> None:
    given = Targets(torch.tensor([[5.0, 5, 5, 5], [3.0, 0, 3, 9]]), torch.tensor([0, 1]))
    assert owners(MaxIoU(RPN)(boxes(20, 3), given)) == [-1] * 20


class Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations have made and that are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, tuple[Any, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                alive = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self.alive[storage.data_ptr()] = alive, storage.nbytes()
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


@pytest.mark.parametrize("more", [{}, {"all_ties": False}, {"ignore": 0.5}, {"ignore": 0.5, "ignore_share_of": "region"}])
def test_the_memory_stays_in_its_budget(more: dict[str, Any]) -> None:
    priors, goals = boxes(20_000, 1, side=1000, least=5), targets(100, 2, side=1000)
    given = Targets(goals.boxes, goals.labels, boxes(100, 3, side=1000, least=50), torch.full((100,), ANY_LABEL))

    def run(budget: int) -> tuple[list[int], int]:
        with Memory() as memory:
            found = MaxIoU(MaxIoUSpec(positive=0.5, negative=0.4, low_quality=True, budget_mib=budget, **more))(priors, given)
        return owners(found), memory.peak

    small, peak = run(2)
    large, whole = run(2000)
    assert small == large
    assert whole > 15 * 2**20
    assert peak < 2 * 2**20 + 80 * len(priors)  # the results themselves


@pytest.mark.slow
def test_a_thousand_targets_on_a_wide_image() -> None:
    priors, given = boxes(139_671, 1, side=1300, least=4), targets(1000, 2, side=1300)
    with Memory() as memory:
        found = MaxIoU(RPN)(priors, given)
    assert memory.peak < (RPN.budget_mib + 20) * 2**20
    chunk = slice(70_000, 70_500)
    best = box_iou(given.boxes, priors[chunk]).amax(dim=0)
    positive = torch.zeros(len(priors), dtype=torch.bool)
    positive[found.priors] = True
    assert (positive[chunk] >= (best >= 0.7)).all()
    assert not found.ignored[chunk][best < 0.3].any()


@pytest.mark.parametrize("goals", [Targets(), Targets(torch.tensor([[500.0, 500, 510, 510]]), torch.tensor([0]))])
def test_a_target_that_overlaps_nothing_takes_nothing(goals: Targets) -> None:
    spec = MaxIoUSpec(positive=0.5, negative=0.5, low_quality=True, least_low_quality=0.0)
    assert owners(MaxIoU(spec)(boxes(20, 3), goals)) == [-1] * 20


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"positive": 0.3, "negative": 0.5}, r"negative=0\.5 must ascend, and not be above positive=0\.3"),
        ({"negative": (0.4, 0.2)}, "must ascend"),
        ({"positive": 1.5}, "positive"),
        ({"budget_mib": 0}, "budget_mib"),
        ({"ignore": 2}, "ignore"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MaxIoUSpec(**options)
