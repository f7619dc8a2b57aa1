from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.golden.record import Record, close
from zoo_core.ops.deltas import DeltaCoder

pytestmark = pytest.mark.shared
CODERS = {"rpn": DeltaCoder(), "rcnn": DeltaCoder((0.1, 0.1, 0.2, 0.2))}
SHIFTED = DeltaCoder((0.5, 0.4, 0.3, 0.2), (0.1, -0.2, 0.05, 0.3))
PIXELS = 1e-3


@pytest.fixture
def deltas(record: Callable[[str], Record]) -> Record:
    return record("delta_xywh_coder")


@pytest.mark.parametrize("name", CODERS)
def test_encode_and_back(deltas: Record, name: str) -> None:
    coder, wanted = CODERS[name], deltas.under(name)
    found = coder.encode(deltas["boxes"], deltas["gts"])
    close(found, wanted["encode"])
    close(coder.decode(deltas["boxes"], found), wanted["roundtrip"], atol=PIXELS)


@pytest.mark.parametrize("name", CODERS)
def test_decode(deltas: Record, name: str) -> None:
    coder, wanted = CODERS[name], deltas.under(name)
    size = tuple(deltas.settings["max_shape"])
    close(coder.decode(deltas["boxes"], deltas["deltas"]), wanted["decode_noclip"], atol=PIXELS)
    close(coder.decode(deltas["boxes"], deltas["deltas"]), wanted["decode_clip_border_false"], atol=PIXELS)
    close(coder.decode(deltas["boxes"], deltas["deltas"], size), wanted["decode_clip"], atol=PIXELS)


@pytest.mark.parametrize("name", CODERS)
def test_decode_one_box_per_class(deltas: Record, name: str) -> None:
    by_class = deltas["deltas_c"].view(len(deltas["boxes"]), -1, 4)  # class-major
    found = CODERS[name].decode(deltas["boxes"][:, None], by_class, tuple(deltas.settings["max_shape"]))
    close(found.flatten(1), deltas[f"{name}.decode_c_clip"], atol=PIXELS)


def test_means_other_than_zero(deltas: Record) -> None:
    close(SHIFTED.encode(deltas["boxes"], deltas["gts"]), deltas["means.encode"])
    close(SHIFTED.decode(deltas["boxes"], deltas["deltas"]), deltas["means.decode_noclip"], atol=PIXELS)
