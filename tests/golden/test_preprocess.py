from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.golden.record import Record, close, equal
from zoo_core.detectors.preprocess import KeepRatio, fit, round_up, scale_of
from zoo_core.detectors.specs import KeepRatioSpec
from zoo_core.types import Size, Targets

pytestmark = pytest.mark.shared
FLIPS: dict[str, tuple[int, ...]] = {"none": (), "horizontal": (2,), "vertical": (1,), "diagonal": (1, 2)}


def rgb(recorded: Tensor) -> Tensor:
    """Return an image (3, H, W) in RGB from OpenCV's form (H, W, 3) in BGR."""
    return recorded.flip(2).permute(2, 0, 1).contiguous()


def flipped(boxes: Tensor, axes: tuple[int, ...], size: Size) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(1)
    if 2 in axes:
        x1, x2 = size[1] - x2, size[1] - x1
    if 1 in axes:
        y1, y2 = size[0] - y2, size[0] - y1
    return torch.stack([x1, y1, x2, y2], dim=1)


def levels(batch: Tensor, spec: KeepRatioSpec) -> Tensor:
    """Return the pixels 0 … 255 of a normalised batch."""
    return batch * torch.tensor(spec.std).view(3, 1, 1) + torch.tensor(spec.mean).view(3, 1, 1)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("scale", ["up", "down", "exact"])
def test_images_and_boxes(record: Callable[[str], Record], scale: str, flip: str) -> None:
    """MMDetection resizes and then flips; here the flip is the augmentation's, and comes first."""
    wanted = record("preprocess")
    case = next(c for c in wanted.settings["cases"] if c["name"] == f"{scale}.{flip}")
    image, axes = rgb(wanted["img_bgr_uint8"]), FLIPS[flip]
    original = (image.shape[1], image.shape[2])
    spec = KeepRatioSpec(long_side=max(case["scale"]), short_side=min(case["scale"]))
    labels = torch.arange(len(wanted["boxes"]))
    targets = Targets(flipped(wanted["boxes"], axes, original), labels)

    batch = KeepRatio(spec)([image.flip(axes) if axes else image], [targets])

    height, width = batch.sizes[0]
    assert [height, width] == case["img_shape"]
    found = levels(batch.tensor[0, :, :height, :width], spec)
    pixels = rgb(wanted[f"{scale}.{flip}.img"])
    assert (found - pixels).abs().max() <= (1e-3 if scale == "exact" else 1 + 1e-3)
    assert ((found - pixels).abs() < 0.5).float().mean() > 0.75  # most are the very same
    assert batch.targets is not None
    close(batch.targets[0].boxes, wanted[f"{scale}.{flip}.boxes"], atol=1e-3)
    equal(batch.targets[0].labels, labels)
    factors = torch.tensor([*case["scale_factor"]] * 2)
    close(scale_of(batch.sizes[0], original, factors), factors)


def test_normalised_and_padded(record: Callable[[str], Record]) -> None:
    """Each image of the recorded batch, given in the size that it has there."""
    wanted = record("preprocess")
    case = next(c for c in wanted.settings["cases"] if c["name"] == "batch")
    for row, name in zip(wanted["batch.inputs"], ("up.none", "down.none"), strict=True):
        image = rgb(wanted[f"{name}.img"])
        _, height, width = image.shape
        batch = KeepRatio(KeepRatioSpec(long_side=width, short_side=height))([image])
        assert [*batch.padded[0]] in case["pad_shape"]
        close(batch.tensor[0], row[:, : batch.padded[0][0], : batch.padded[0][1]])
        assert not row[:, batch.padded[0][0] :].any()


def test_a_batch_of_two_sizes(record: Callable[[str], Record]) -> None:
    wanted = record("preprocess")
    case = next(c for c in wanted.settings["cases"] if c["name"] == "batch")
    large, small = rgb(wanted["up.none.img"]), rgb(wanted["down.none.img"])
    sizes = [(image.shape[1], image.shape[2]) for image in (large, small)]
    padded = [round_up(size, 32) for size in sizes]
    assert [[*size] for size in padded] == case["pad_shape"]
    frame = (max(h for h, _ in padded), max(w for _, w in padded))
    assert [*frame] == case["batch_input_shape"]
    close(KeepRatio(KeepRatioSpec())._stack([large, small], sizes, [(0, 0)] * 2, frame), wanted["batch.inputs"])


def test_arithmetic_of_sizes(folder: Path) -> None:
    for row in json.loads((folder / "rescale_sizes.json").read_text())["rows"]:
        size = fit((row["h"], row["w"]), max(row["scale"]), min(row["scale"]))
        assert size == (row["new_h"], row["new_w"])
        assert [*round_up(size, 32)] == row["pad32"]
        factors = scale_of(size, (row["h"], row["w"]), torch.zeros(0, dtype=torch.float64))
        assert factors.tolist() == [row["w_scale"], row["h_scale"]] * 2
