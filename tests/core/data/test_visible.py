from __future__ import annotations

import pytest
import torch

from zoo_core.data.visible import visible
from zoo_core.types import Targets

TARGETS = Targets(torch.zeros(3, 4), torch.tensor([4, 5, 6]), torch.zeros(2, 4), torch.tensor([7, -1]))
BOXES = torch.tensor([[0.0, 0, 10, 10], [5, 5, 6, 25], [9, 3, 9, 8], [1, 1, 1.5, 2], [4, 7, 8, 7]])
WHOLE = torch.tensor([200.0, 20, 10, 100, 100])


@pytest.mark.parametrize(
    ("min_visible", "min_side", "objects", "ignored"),
    [
        (0.0, 0.0, [4, 5], [7]),
        (0.5, 1.0, [4, 5], [7]),  # just enough is enough
        (0.51, 0.0, [5], [7, 4]),
        (0.5, 1.5, [4], [7, 5]),
        (1.0, 1.5, [], [7, 4, 5]),
    ],
)
def test_what_is_left(min_visible: float, min_side: float, objects: list[int], ignored: list[int]) -> None:
    left = visible(TARGETS, BOXES, WHOLE, min_visible, min_side)
    assert left.labels.tolist() == objects
    assert left.ignored_labels.tolist() == ignored
    places = {4: 0, 5: 1, 7: 3}
    assert torch.equal(left.boxes, BOXES[[places[label] for label in objects]])
    assert torch.equal(left.ignored, BOXES[[places[label] for label in ignored]])


def test_a_box_inside_out_is_gone() -> None:
    targets = Targets(torch.zeros(1, 4), torch.tensor([0]))
    left = visible(targets, torch.tensor([[5.0, 5, 3, 3]]), torch.tensor([4.0]), 0.0)
    assert (len(left), len(left.ignored)) == (0, 0)


def test_no_targets() -> None:
    left = visible(Targets(), torch.zeros(0, 4), torch.zeros(0), 0.3, 2)
    assert (len(left), len(left.ignored)) == (0, 0)
