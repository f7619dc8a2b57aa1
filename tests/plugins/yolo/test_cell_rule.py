"""What the assigners of the YOLO head share: the priors are sorted once for a batch, and never taken for those of another."""

from __future__ import annotations

import pytest
import torch

from zoo_core.types import Targets
from zoo_yolo.head import cell_rule
from zoo_yolo.head.anchor_iou import AnchorIoU
from zoo_yolo.head.cell_rule import CellRule
from zoo_yolo.head.cells import Cells
from zoo_yolo.head.shape_match import ShapeMatch
from zoo_yolo.head.specs import AnchorIoUSpec, ShapeMatchSpec

PRIORS = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8], [0, 8, 8, 16], [8, 8, 16, 16]])
STRIDES = torch.full((4,), 8)
LEFT, RIGHT = (Targets(torch.tensor([box]), torch.zeros(1, dtype=torch.int64)) for box in ([0.0, 0, 8, 8], [8.0, 0, 16, 8]))


@pytest.fixture(params=["anchor_iou", "shape_match"])
def rule(request: pytest.FixtureRequest) -> CellRule:
    return AnchorIoU(AnchorIoUSpec()) if request.param == "anchor_iou" else ShapeMatch(ShapeMatchSpec(neighbours=0))


def test_the_images_of_a_batch_share_the_sorted_priors(rule: CellRule, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Tensor] = []

    class Counted(Cells):
        def __init__(self, priors: torch.Tensor, strides: torch.Tensor) -> None:
            made.append(priors)
            super().__init__(priors, strides)

    monkeypatch.setattr(cell_rule, "Cells", Counted)
    priors = PRIORS.clone()
    found = [rule(priors, targets, None, STRIDES).priors.tolist() for targets in (LEFT, RIGHT, LEFT)]
    assert (found, len(made)) == ([[0], [1], [0]], 1)


def test_other_priors_or_strides_are_sorted_anew(rule: CellRule) -> None:
    assert rule(PRIORS, LEFT, None, STRIDES).priors.tolist() == [0]
    assert rule(PRIORS.flip(0), LEFT, None, STRIDES).priors.tolist() == [3]
    assert rule(PRIORS, LEFT, None, STRIDES).priors.tolist() == [0]
    assert rule(PRIORS, LEFT, None, torch.full((4,), 16)).priors.tolist() == [0, 1, 2, 3]  # one cell holds them all
