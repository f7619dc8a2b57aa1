"""What an imported detector finds is what a plain reference finds, which is written out beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.plugins.rcnn.importers.detectron2_reference import (
    Settings,
    Weights,
    detect,
    normalised,
    resize_shortest_edge,
    resnet,
)
from tests.plugins.rcnn.importers.foreign import detectron2
from zoo_core.build import build
from zoo_core.detectors.detector import Detector
from zoo_core.detectors.preprocess import KeepRatio
from zoo_core.importing import import_model
from zoo_core.recipes import resolve

SMALL = {"neck": {"width": 64}, "roi_head": {"width": 256}}  # narrow heads, for time; the backbone is whole
SCALES = {
    "stem": 1 / 60,
    "lateral": 0.4,
    "output": 0.5,
    "logits": 2.0,
    "anchor_deltas": 0.06,
    "cls_score": 0.5,
    "bbox_pred": 0.3,
}
"""Of layers whose inputs, or outputs, are not about 1: so scaled, some of what is found is sure and some is not."""


def random_weights(classes: int = 80) -> Weights:
    """Return weights under Detectron2's names, each of its own, which keep the size of what passes through."""
    with torch.device("meta"):
        shapes = detectron2(build(resolve("faster_rcnn_r50_fpn", {**SMALL, "num_classes": classes})).state_dict())
    generator, found = torch.Generator().manual_seed(0), {}
    for name, shape in shapes.items():
        normal, even = torch.randn(shape.shape, generator=generator), torch.rand(shape.shape, generator=generator)
        if shape.ndim > 1:
            scale = next((scale for part, scale in SCALES.items() if part in name), 1.0)
            found[name] = normal * scale * (2 / shape[0].numel()) ** 0.5
        elif name.endswith(("norm.weight", "running_var")):
            found[name] = (even + 0.5) * (0.3 if "conv3.norm.weight" in name else 1)
        else:
            found[name] = 0.1 * (even - 0.5)
    return found


@pytest.fixture(scope="module")
def weights() -> Weights:
    return random_weights()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Detector:
    path = tmp_path_factory.mktemp("detectron2") / "model_0004999.pth"
    torch.save({"model": weights, "iteration": 4999}, path)
    return import_model(path)


def photographs(shared: Path) -> list[Tensor]:
    paths = sorted((shared / "data/coco_tiny80/val2017").glob("*.jpg"))[:2]
    return [torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).contiguous() for path in paths]


@pytest.mark.shared
@pytest.mark.parametrize("number", [0, 1])
def test_an_image(shared: Path, weights: Weights, imported: Detector, number: int) -> None:
    image = photographs(shared)[number]
    with torch.no_grad():
        (found,) = imported([image])
    boxes, scores, classes = detect(weights, resized(imported, image), (image.shape[1], image.shape[2]), Settings())
    assert len(found) == len(boxes) > 30
    assert len(classes.unique()) > 3
    assert scores.max() - scores.min() > 0.1
    torch.testing.assert_close(found.scores, scores, rtol=0, atol=1e-4)
    # Scores that are equal but for the last bits may come in another order.
    distances = (found.boxes - boxes[:, None]).abs().amax(dim=-1) + 1e6 * (found.labels != classes[:, None])
    nearest, place = distances.min(dim=1)
    assert nearest.max() < 1e-2
    assert len(place.unique()) == len(boxes)
    torch.testing.assert_close(found.scores[place], scores, rtol=0, atol=1e-4)


def resized(model: Detector, image: Tensor) -> Tensor:
    """Return the image as the network gets it, in whole levels again, without its padding."""
    batch = model.preprocess([image])
    pixels, (height, width) = batch.tensor[0], batch.sizes[0]
    return (pixels[:, :height, :width] + torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)).round()


@pytest.mark.shared
def test_the_pixels_are_pillows_but_for_the_rounding(shared: Path, imported: Detector) -> None:
    first, second = photographs(shared)
    for image in (first, second.repeat_interleave(3, 1).repeat_interleave(3, 2)):  # one is made larger, one smaller
        found, wanted = resized(imported, image), resize_shortest_edge(image)
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() <= 1
        assert (found != wanted).float().mean() < 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0)),
        Settings((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "RGB", stride_in_1x1=False),
    ],
)
def test_the_features(tmp_path: Path, weights: Weights, settings: Settings) -> None:
    colours = {"pixel_mean": settings.mean, "pixel_std": settings.std}
    said = {name: torch.tensor(values).view(3, 1, 1) for name, values in colours.items()}
    torch.save({"model": weights | said}, tmp_path / "x.pth")
    model = import_model(tmp_path / "x.pth")
    spec: Any = model.spec
    model.preprocess = KeepRatio(spec.preprocess.model_copy(update={"short_side": 128, "long_side": 160}))
    image = torch.randint(0, 256, (3, 128, 150), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.backbone(model.preprocess([image]).tensor)
        wanted = resnet(weights, normalised(image.float(), settings), settings)
    for stage, stride in zip((2, 3, 4, 5), (4, 8, 16, 32), strict=True):
        torch.testing.assert_close(found[stride], wanted[stage], rtol=1e-3, atol=1e-3)
