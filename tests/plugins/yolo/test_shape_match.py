from __future__ import annotations

import pytest
import torch

from tests.plugins.yolo import plain
from zoo_core.errors import InputError, SpecError
from zoo_core.testing import check_assigner
from zoo_core.types import Assignment, Targets
from zoo_yolo.head.shape_match import ShapeMatch
from zoo_yolo.head.specs import ShapeMatchSpec

ONE = plain.places((((16.0, 16.0),),), (16,), (64, 96))  # 4 rows of 6 cells of 16 pixels


def pairs(found: Assignment) -> set[tuple[int, int]]:
    listed = list(zip(found.priors.tolist(), found.targets.tolist(), strict=True))
    assert len(set(listed)) == len(listed)
    assert not found.ignored.any()
    return set(listed)


def cells_of(x: float, y: float, **options: float) -> set[tuple[int, int]]:
    """Return the cells (x, y) of `ONE` that a target with this centre, in cells, takes."""
    box = torch.tensor([[x * 16 - 8, y * 16 - 8, x * 16 + 8, y * 16 + 8]])
    priors, strides = plain.priors(ONE)
    found = ShapeMatch(ShapeMatchSpec(**options))(priors, Targets(box, torch.tensor([0])), None, strides)
    return {(ONE[k].x, ONE[k].y) for k in found.priors.tolist()}


@pytest.mark.parametrize("options", [{}, {"ratio": 2.0}, {"neighbours": 0.0}, {"neighbours": 0.25}, {"neighbours": 1.0}])
@pytest.mark.parametrize("seed", range(3))
def test_against_a_slow_reference(options: dict[str, float], seed: int) -> None:
    spec = ShapeMatchSpec(**options)
    places, targets = plain.places(), plain.targets(25, seed)
    priors, strides = plain.priors(places)
    wanted = plain.shape_match(places, targets.boxes, spec.ratio, spec.neighbours)
    assert len(wanted) > 10
    assert pairs(ShapeMatch(spec)(priors, targets, None, strides)) == wanted


def test_a_thousand_boxes() -> None:
    places, targets = plain.places(), plain.targets(1000, 9)
    priors, strides = plain.priors(places)
    assert pairs(ShapeMatch(ShapeMatchSpec())(priors, targets, None, strides)) == plain.shape_match(
        places, targets.boxes, 4, 0.5
    )


def test_the_nearer_cell_of_each_axis() -> None:
    assert cells_of(2.25, 1.75) == {(2, 1), (1, 1), (2, 2)}
    assert cells_of(2.75, 1.25) == {(2, 1), (3, 1), (2, 0)}
    assert cells_of(2.25, 1.25, neighbours=0) == {(2, 1)}


def test_from_the_middle_none_is_nearer() -> None:
    assert cells_of(2.5, 1.5) == {(2, 1)}
    assert cells_of(2.5, 1.25) == {(2, 1), (2, 0)}


def test_a_centre_on_a_border_belongs_to_the_cell_behind_it() -> None:
    assert cells_of(2.0, 1.5) == {(2, 1), (1, 1)}
    assert cells_of(2.0, 1.5, neighbours=0) == {(2, 1)}


def test_no_cell_beyond_the_map() -> None:
    assert cells_of(0.25, 0.25) == {(0, 0)}
    assert cells_of(5.75, 3.75) == {(5, 3)}
    assert cells_of(5.75, 1.5) == {(5, 1)}  # not the first cell of the next row
    assert cells_of(6.0, 4.0) == set()  # on the far corner; the nearer cells lie diagonally
    assert cells_of(-3.0, 9.0) == set()


def test_the_ratio_is_a_strict_bound_of_every_side() -> None:
    priors, strides = plain.priors(ONE)
    sizes = [(64.0, 16.0), (63.9375, 16.0), (16.0, 4.0), (16.0, 4.0625), (63.0, 4.25), (64.0, 4.0), (63.0, 63.0)]
    boxes = torch.tensor([[40 - w / 2, 40 - h / 2, 40 + w / 2, 40 + h / 2] for w, h in sizes])
    found = ShapeMatch(ShapeMatchSpec())(priors, Targets(boxes, torch.zeros(7, dtype=torch.int64)), None, strides)
    assert sorted(found.targets.tolist()) == [1, 3, 4, 6]


def test_a_prior_answers_for_several_targets() -> None:
    priors, strides = plain.priors(ONE)
    box = torch.tensor([[30.0, 30, 50, 50], [32.0, 32, 48, 48]])
    found = ShapeMatch(ShapeMatchSpec())(priors, Targets(box, torch.zeros(2, dtype=torch.int64)), None, strides)
    assert found.priors.tolist() == [14, 14]


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_strides_of_any_type_and_priors_in_any_order(dtype: torch.dtype) -> None:
    places, targets = plain.places(), plain.targets(20, 4)
    priors, strides = plain.priors(places)
    order = torch.randperm(len(priors), generator=torch.Generator().manual_seed(0))
    found = ShapeMatch(ShapeMatchSpec())(priors[order], targets, None, strides[order].to(dtype))
    wanted = plain.shape_match(places, targets.boxes, 4, 0.5)
    assert {(int(order[prior]), target) for prior, target in pairs(found)} == wanted


def test_contract() -> None:
    check_assigner("shape_match")
    check_assigner("shape_match", ratio=2.0, neighbours=0.0)


def test_it_needs_strides() -> None:
    with pytest.raises(InputError, match="'shape_match' matches cells; it needs `strides`"):
        ShapeMatch(ShapeMatchSpec())(torch.zeros(0, 4), Targets())


@pytest.mark.parametrize("options", [{"ratio": 1.0}, {"neighbours": 1.5}, {"neighbours": -0.1}])
def test_options_that_cannot_be(options: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=next(iter(options))):
        ShapeMatchSpec(**options)
