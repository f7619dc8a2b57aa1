from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from zoo_core.ops.anchors import base_anchors, grid_anchors, inside_image

RATIOS = (0.5, 1.0, 2.0)


def test_the_grid_is_torchvisions() -> None:
    generator = AnchorGenerator(((32,),), (RATIOS,))
    wanted = generator(ImageList(torch.zeros(1, 3, 40, 56), [(40, 56)]), [torch.zeros(1, 1, 5, 7)])[0]
    base = generator.cell_anchors[0]  # torchvision rounds the anchors of a cell
    torch.testing.assert_close(grid_anchors(base, (5, 7), 8), wanted, rtol=0, atol=0)
    torch.testing.assert_close(base_anchors(32, (1.0,), RATIOS), base, rtol=0, atol=0.5)


@pytest.mark.parametrize("size", [4, 16, 64])
def test_ratios_keep_the_area_and_are_height_over_width(size: int) -> None:
    base = base_anchors(size, (2.0, 8.0), RATIOS)
    sides = base[:, 2:] - base[:, :2]
    torch.testing.assert_close((sides[:, 1] / sides[:, 0]).view(3, 2), torch.tensor(RATIOS)[:, None].expand(3, 2))
    torch.testing.assert_close(sides.prod(dim=1).sqrt().view(3, 2) / size, torch.tensor([2.0, 8.0]).expand(3, 2))
    torch.testing.assert_close(base[:, :2], -base[:, 2:])  # about the corner of the cell


def test_centre_is_a_fraction_of_the_size() -> None:
    base = base_anchors(16, (1.0,), (1.0,), centre=0.5)
    assert base.tolist() == [[0, 0, 16, 16]]


def test_rows_first_then_columns_then_the_anchors_of_a_cell() -> None:
    base = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0]])
    found = grid_anchors(base, (2, 3), 10).view(2, 3, 2, 4)
    assert found[1, 2, 0].tolist() == [20, 10, 21, 11]
    assert found[0, 1, 1].tolist() == [10, 0, 12, 2]


def test_the_anchors_of_a_wide_image() -> None:
    shapes = {4: (104, 336), 8: (52, 168), 16: (26, 84), 32: (13, 42), 64: (7, 21)}  # of 416 x 1344
    counts = [len(grid_anchors(base_anchors(s, (8.0,), RATIOS), shape, s)) for s, shape in shapes.items()]
    assert counts == [104_832, 26_208, 6_552, 1_638, 441]
    assert sum(counts) == 139_671


def test_inside_image() -> None:
    inside = inside_image((3, 4), 8, (16, 17), per_cell=2).view(3, 4, 2)
    assert inside[:, :, 0].tolist() == [[True, True, True, False]] * 2 + [[False] * 4]
    assert torch.equal(inside[:, :, 0], inside[:, :, 1])
