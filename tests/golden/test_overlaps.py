from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor
from torchvision.ops import generalized_box_iou

from tests.golden.record import Record, close
from zoo_core.ops.boxes import nonempty
from zoo_core.ops.iou import iof, iou

pytestmark = pytest.mark.shared
MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"iou": iou, "iof": iof}


@pytest.mark.parametrize("name", MEASURES)
def test_pairs(record: Callable[[str], Record], name: str) -> None:
    overlaps = record("bbox_overlaps")
    found = MEASURES[name](overlaps["a"], overlaps["b"])
    close(found, overlaps[f"pairwise.{name}"])
    close(found.diagonal(), overlaps[f"aligned.{name}"])


def test_torchvision_has_the_generalized_form(record: Callable[[str], Record]) -> None:
    """Ours to use where a plugin wants it; the bound of the union matters for empty boxes alone."""
    overlaps = record("bbox_overlaps")
    rows, columns = nonempty(overlaps["a"]), nonempty(overlaps["b"])
    found = generalized_box_iou(overlaps["a"][rows], overlaps["b"][columns])
    close(found, overlaps["pairwise.giou"][rows][:, columns])
