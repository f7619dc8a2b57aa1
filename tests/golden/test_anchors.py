from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.golden.record import Record, close, equal
from zoo_core.ops.anchors import base_anchors, grid_anchors, inside_image

pytestmark = pytest.mark.shared
RATIOS = (0.5, 1.0, 2.0)
STRIDES = (4, 8, 16, 32, 64)
OCTAVES = tuple(4 * 2 ** (k / 3) for k in range(3))


@pytest.fixture
def anchors(record: Callable[[str], Record]) -> Record:
    return record("anchor_generator")


def test_rpn_on_a_wide_image(anchors: Record) -> None:
    wanted = anchors.under("rpn")
    found = []
    for level, stride in enumerate(STRIDES):
        base = base_anchors(stride, (8.0,), RATIOS)
        equal(base, wanted[f"base_anchors.{level}"])
        found.append(grid_anchors(base, tuple(wanted.settings["featmap_sizes"][level]), stride))
        equal(found[-1][:20], wanted[f"head.{level}"])
        equal(found[-1][-20:], wanted[f"tail.{level}"])
        torch.testing.assert_close(found[-1].double().sum(dim=0), wanted[f"colsum.{level}"], rtol=1e-9, atol=0)
    assert [len(level) for level in found] == wanted.settings["num_per_level"] == [104_832, 26_208, 6_552, 1_638, 441]
    assert sum(map(len, found)) == wanted.settings["total"] == 139_671


def test_which_anchors_lie_on_a_smaller_image_of_a_batch(anchors: Record) -> None:
    wanted = anchors.under("rpn_small")
    for level, stride in enumerate(STRIDES):
        shape = tuple(wanted.settings["featmap_sizes"][level])
        equal(grid_anchors(base_anchors(stride, (8.0,), RATIOS), shape, stride), wanted[f"priors.{level}"])
        padded = tuple(wanted.settings["valid_pad_shape"])
        equal(inside_image(shape, stride, padded, 3), wanted[f"valid_flags.{level}"])


@pytest.mark.parametrize(
    ("case", "strides", "scales", "ratios", "centre", "sides"),
    [
        ("retina", (8, 16, 32, 64, 128), OCTAVES, RATIOS, 0.0, None),
        ("offset", (8, 16), (4.0, 8.0), RATIOS, 0.5, None),
        ("base_sizes", (16, 32), (1.0,), (1.0,), 0.0, (9, 18)),
    ],
)
def test_other_settings(
    anchors: Record,
    case: str,
    strides: tuple[int, ...],
    scales: tuple[float, ...],
    ratios: tuple[float, ...],
    centre: float,
    sides: tuple[int, ...] | None,
) -> None:
    wanted = anchors.under(case)
    for level, stride in enumerate(strides):
        base = base_anchors((sides or strides)[level], scales, ratios, centre)
        close(base, wanted[f"base_anchors.{level}"])
        close(grid_anchors(base, tuple(wanted.settings["featmap_sizes"][level]), stride), wanted[f"priors.{level}"])


def test_another_order_within_the_cell(anchors: Record) -> None:
    """`scale_minor` puts the scales outermost: the same anchors, in another order."""
    wanted = anchors.under("scale_minor")
    for level, stride in enumerate((8, 16)):
        base = base_anchors(stride, (4.0, 8.0), RATIOS).view(3, 2, 4).transpose(0, 1).reshape(6, 4)
        close(base, wanted[f"base_anchors.{level}"])
        close(grid_anchors(base, tuple(wanted.settings["featmap_sizes"][level]), stride), wanted[f"priors.{level}"])
