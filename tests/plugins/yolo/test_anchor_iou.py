from __future__ import annotations

import pytest
import torch

from tests.plugins.yolo import plain
from tests.plugins.yolo.test_shape_match import pairs
from zoo_core.errors import InputError, SpecError
from zoo_core.testing import check_assigner
from zoo_core.types import Targets
from zoo_yolo.head.anchor_iou import AnchorIoU
from zoo_yolo.head.specs import AnchorIoUSpec


@pytest.mark.parametrize("least", [0.0, 0.213, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_against_a_slow_reference(least: float, seed: int) -> None:
    places, targets = plain.places(), plain.targets(25, seed)
    priors, strides = plain.priors(places)
    wanted = plain.anchor_iou(places, targets.boxes, least)
    assert {target for _, target in wanted} == set(range(25))
    assert pairs(AnchorIoU(AnchorIoUSpec(least_iou=least))(priors, targets, None, strides)) == wanted


def test_a_thousand_boxes() -> None:
    places, targets = plain.places(), plain.targets(1000, 9)
    priors, strides = plain.priors(places)
    found = AnchorIoU(AnchorIoUSpec())(priors, targets, None, strides)
    assert pairs(found) == plain.anchor_iou(places, targets.boxes, 0.213)


def test_the_best_anchor_alone_is_that_of_all_maps() -> None:
    places = plain.places()
    priors, strides = plain.priors(places)
    box = torch.tensor([[2.0, 3.0, 63.0, 46.0]])
    found = AnchorIoU(AnchorIoUSpec(least_iou=1.0))(priors, Targets(box, torch.tensor([0])), None, strides)
    (prior,) = found.priors.tolist()
    assert (places[prior].width, places[prior].height) == (62, 45)
    assert (places[prior].x, places[prior].y) == (2, 1)


def test_an_anchor_of_two_maps_answers_on_both() -> None:
    """As 81 x 82 of YOLOv4-tiny."""
    places = plain.places((((37.0, 58.0), (81.0, 82.0)), ((81.0, 82.0), (135.0, 169.0))), (16, 32), (64, 96))
    priors, strides = plain.priors(places)
    box = torch.tensor([[8.0, 0.0, 88.0, 64.0]])
    found = AnchorIoU(AnchorIoUSpec(least_iou=1.0))(priors, Targets(box, torch.tensor([0])), None, strides)
    assert [(places[k].stride, places[k].anchor) for k in found.priors.tolist()] == [(16, 1), (32, 0)]


def test_an_anchor_is_one_though_its_sides_are_rounded_from_cell_to_cell() -> None:
    places = plain.places((((10.1, 13.7), (40.3, 30.1)), ((10.1, 13.7),)), (8, 32), (512, 512))
    priors, strides = plain.priors(places)
    corner = torch.arange(0, 480, 11.3)[:, None]
    targets = Targets(torch.cat([corner, corner, corner + 12, corner + 14], dim=1), torch.zeros(len(corner), dtype=torch.int64))
    found = AnchorIoU(AnchorIoUSpec(least_iou=1.0))(priors, targets, None, strides)
    assert len(found.priors) == 2 * len(targets)
    assert {places[k].width for k in found.priors.tolist()} == {10.1}


def test_the_bound_is_strict() -> None:
    places = plain.places((((16.0, 16.0), (16.0, 8.0)),), (8,))
    priors, strides = plain.priors(places)
    target = Targets(torch.tensor([[8.0, 8, 24, 24]]), torch.tensor([0]))
    for least, anchors in ((0.5, [0]), (0.49, [0, 1])):
        found = AnchorIoU(AnchorIoUSpec(least_iou=least))(priors, target, None, strides)
        assert sorted(places[k].anchor for k in found.priors.tolist()) == anchors


def test_a_target_without_area_gets_nothing() -> None:
    priors, strides = plain.priors(plain.places())
    box = torch.tensor([[8.0, 8, 8, 8], [8.0, 8, 40, 8]])
    assert not len(AnchorIoU(AnchorIoUSpec())(priors, Targets(box, torch.tensor([0, 0])), None, strides).priors)


def test_the_cell_of_a_map_that_does_not_reach_the_target() -> None:
    """The maps are 64 x 64 and 96 x 96: a target in the margin of the second has no cell on the first."""
    places = plain.places((((10.0, 10.0),),), (8,), (64, 64)) + plain.places((((80.0, 80.0),),), (32,), (96, 96))
    priors, strides = plain.priors(places)
    box = torch.tensor([[70.0, 70, 80, 80], [66.0, 2.0, 76.0, 12.0], [96.0, 96, 100, 100]])
    found = AnchorIoU(AnchorIoUSpec())(priors, Targets(box, torch.zeros(3, dtype=torch.int64)), None, strides)
    assert {(places[k].stride, places[k].x, places[k].y) for k in found.priors.tolist()} == {(32, 2, 0), (32, 2, 2)}


def test_contract() -> None:
    check_assigner("anchor_iou")
    check_assigner("anchor_iou", least_iou=1.0)


def test_it_needs_strides() -> None:
    with pytest.raises(InputError, match="'anchor_iou' matches cells; it needs `strides`"):
        AnchorIoU(AnchorIoUSpec())(torch.zeros(0, 4), Targets())


def test_options_that_cannot_be() -> None:
    with pytest.raises(SpecError, match="least_iou"):
        AnchorIoUSpec(least_iou=1.5)
