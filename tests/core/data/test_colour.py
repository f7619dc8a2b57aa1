from __future__ import annotations

import colorsys

import pytest
import torch

from zoo_core.data.colour import scale_hsv

IMAGE = torch.randint(0, 256, (3, 40, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IMAGE[:, :10] = torch.randint(0, 3, (3, 10, 30), generator=torch.Generator().manual_seed(1)) * 127  # ties, black, grey


@pytest.mark.parametrize(
    "factors", [(1, 1, 1), (1.015, 1.7, 0.6), (0.985, 0.3, 1.4), (2, 1, 1), (0, 2, 2), (1.9, 0, 1), (1, 1, 0)]
)
def test_as_the_standard_library_has_it(factors: tuple[float, float, float]) -> None:
    hue, saturation, value = factors
    changed = scale_hsv(IMAGE, hue, saturation, value)
    assert changed.dtype == torch.uint8
    for before, after in zip(IMAGE.flatten(1).T.tolist(), changed.flatten(1).T.tolist(), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(level / 255 for level in before))
        expected = colorsys.hsv_to_rgb(h * hue % 1, min(s * saturation, 1), min(v * value, 1))
        assert after == pytest.approx([level * 255 for level in expected], abs=0.51)


def test_the_hue_wraps() -> None:
    purple_red = torch.tensor([255, 0, 5], dtype=torch.uint8)[:, None, None]  # just before the full circle
    red, green, blue = scale_hsv(purple_red, 1.05, 1, 1).flatten().tolist()
    assert (red, blue) == (255, 0)
    assert 60 < green < 80  # 0.05 of the circle on, towards yellow


@pytest.mark.parametrize("size", [(1, 1), (3, 50_000), (200, 300)])
def test_of_any_size_and_in_any_layout(size: tuple[int, int]) -> None:
    image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).permute(2, 0, 1)
    assert (scale_hsv(image, 1, 1, 1).int() - image.int()).abs().max() == 0
    assert torch.equal(scale_hsv(image, 1.1, 0.9, 1.1), scale_hsv(image.contiguous(), 1.1, 0.9, 1.1))


def test_the_input_is_left_as_it_is() -> None:
    before = IMAGE.clone()
    scale_hsv(IMAGE, 0.5, 0.5, 0.5)
    assert torch.equal(IMAGE, before)
