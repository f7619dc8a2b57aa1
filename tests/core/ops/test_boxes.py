from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_area, clip_boxes_to_image

from tests.core.ops.draw import boxes
from zoo_core.ops.boxes import areas, clip, nonempty


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_like_torchvision(count: int) -> None:
    found = boxes(count, seed=count) - 20
    torch.testing.assert_close(areas(found), box_area(found), rtol=0, atol=0)
    torch.testing.assert_close(clip(found, (30, 50)), clip_boxes_to_image(found, (30, 50)), rtol=0, atol=0)


def test_clip_keeps_leading_dimensions_and_the_input() -> None:
    found = torch.tensor([[[-5.0, -5.0, 200.0, 200.0], [1.0, 2.0, 3.0, 4.0]]])
    assert clip(found, (30, 50)).tolist() == [[[0, 0, 50, 30], [1, 2, 3, 4]]]
    assert found.min() == -5


def test_nonempty() -> None:
    found = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0], [2, 2, 1, 1], [0, 0, 2, 0.5]], dtype=torch.float32)
    assert nonempty(found).tolist() == [True, False, False, False, True]
    assert nonempty(found, minimum=0.5).tolist() == [True, False, False, False, False]
    assert nonempty(torch.zeros(0, 4)).shape == (0,)


def test_clip_to_an_image_that_does_not_begin_at_the_corner() -> None:
    found = torch.tensor([[-5.0, -5.0, 200.0, 200.0], [8.0, 12.0, 9.0, 14.0]])
    assert clip(found, (30, 50), (10, 7)).tolist() == [[7, 10, 57, 40], [8, 12, 9, 14]]
