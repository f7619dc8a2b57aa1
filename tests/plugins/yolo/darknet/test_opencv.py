"""The judge is OpenCV's own reader of Darknet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.plugins.yolo.darknet.samples import random_weights, resized
from zoo_core.data.open import open_data
from zoo_core.data.samples import DetectionData
from zoo_core.detectors.detector import Detector
from zoo_core.engine.evaluate import evaluate, measure
from zoo_core.images import as_image
from zoo_core.importing import import_model
from zoo_core.ops.boxes import clip
from zoo_core.ops.nms import suppress
from zoo_core.types import Detections
from zoo_yolo.darknet.cfg import read_cfg
from zoo_yolo.head.anchor_map import AnchorMap

pytestmark = pytest.mark.shared
DARKNET = "data/weights/darknet"
NETWORKS = (
    "yolo-fastest-1.1",
    "yolov4-tiny",
    "yolov4-tiny-3l",
    pytest.param("yolov4", marks=pytest.mark.slow),
    pytest.param("yolov4-csp", marks=pytest.mark.slow),
)


@pytest.fixture(params=NETWORKS)
def cfg(request: pytest.FixtureRequest, tmp_path: Path, shared: Path) -> Path:
    """Return an official network, made smaller."""
    side = (64, 64) if request.param == "yolov4-csp" else (96, 64)  # its letterbox is square
    return resized(shared / DARKNET / f"{request.param}.cfg", tmp_path, *side)


def opencv(cfg: Path, weights: Path, image: np.ndarray) -> Any:
    """Return OpenCV's network, an RGB image (H, W, 3) set. It leaves class scores under 0.2 out, unless it is told not to."""
    told = cfg.with_name("opencv.cfg")
    told.write_text(cfg.read_text().replace("[yolo]", "[yolo]\nthresh=0"))
    net = cv2.dnn.readNetFromDarknet(str(told), str(weights))
    net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, image.shape[1::-1]))
    return net


def test_outputs_raw_and_decoded(cfg: Path) -> None:
    weights = random_weights(cfg)
    model = import_model(weights)
    height, width = model.preprocess.frame
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    net = opencv(cfg, weights, image)
    with torch.inference_mode():
        raw = model.head(model.features(model.preprocess([torch.from_numpy(image).permute(2, 0, 1)])))
        maps = {map_.stride: map_ for map_ in model.head.anchor_maps(raw)}
    places = [place for place, section in enumerate(read_cfg(cfg)[1:]) if section.name == "yolo"]
    for place, stride in zip(places, model.backbone.spec.strides, strict=True):
        theirs = net.forward(f"conv_{place - 1}")
        assert theirs.std() > 0.1
        assert np.abs(theirs - raw.maps[stride].numpy()).max() < 1e-4
        check_decoded(net.forward(f"yolo_{place}"), maps[stride], height, width)


def check_decoded(theirs: np.ndarray, ours: AnchorMap, height: int, width: int) -> None:
    """Compare rows of centre and size over the frame's, objectness, scores."""
    place = torch.arange(len(ours))
    rows = ours.rows(torch.zeros_like(place), place)
    objectness = rows[:, 4:5].sigmoid()
    scores = torch.cat([objectness, rows[:, 5:].sigmoid() * objectness], dim=1)
    centre, half = theirs[:, :2], theirs[:, 2:4] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    assert np.abs(boxes - ours.image_boxes(0).numpy() / (width, height, width, height)).max() < 1e-4
    assert np.abs(theirs[:, 4:] - scores.numpy()).max() < 1e-4


def test_a_real_network(shared: Path) -> None:
    """Trained norms have variances near zero, where what is added to them counts."""
    folder = shared / DARKNET
    names = (str(folder / f"yolo-fastest-1.1.{end}") for end in ("cfg", "weights"))
    net = cv2.dnn.readNetFromDarknet(*names)
    model = import_model(folder / "yolo-fastest-1.1.weights")
    image = as_image(sorted((shared / "data/coco_tiny80").rglob("*.jpg"))[0])
    with torch.inference_mode():
        batch = model.preprocess([image])
        raw = model.head(model.features(batch))
    net.setInput(batch.tensor.contiguous().numpy())
    for layer, stride in (("conv_120", 32), ("conv_129", 16)):
        assert np.abs(net.forward(layer) - raw.maps[stride].numpy()).max() < 1e-4


# The published figure


@pytest.fixture(scope="module")
def data(shared: Path) -> DetectionData:
    return open_data(shared / "data/coco_tiny80", "val2017")


@pytest.fixture(scope="module")
def fastest(shared: Path) -> Detector:
    return import_model(shared / DARKNET / "yolo-fastest-1.1.weights")


@pytest.mark.slow
def test_accuracy_of_a_real_network(fastest: Detector, data: DetectionData) -> None:
    figures = evaluate(fastest, data).metrics
    assert figures["AP"] == pytest.approx(0.1613, abs=0.003)
    assert figures["AP50"] == pytest.approx(0.3175, abs=0.005)


@pytest.mark.slow
def test_accuracy_as_opencv_has_it(fastest: Detector, data: DetectionData, shared: Path) -> None:
    """OpenCV drops class scores of 0.2 and less inside the network, before any threshold of the caller's: 0.1325.

    With the same pixels and the same floor ours has the same detections, but for clipping them to the image.
    """
    net = cv2.dnn.readNetFromDarknet(*(str(shared / DARKNET / f"yolo-fastest-1.1.{end}") for end in ("cfg", "weights")))
    plain, clipped, own = [], [], []
    spec = fastest.head.spec
    fastest.head.spec = spec.model_copy(update={"least_score": 0.2})
    for sample in data:
        image = as_image(sample.path)
        size = (image.shape[1], image.shape[2])
        small = cv2.resize(image.permute(1, 2, 0).contiguous().numpy(), (320, 320))
        net.setInput(cv2.dnn.blobFromImage(small, 1 / 255))
        plain.append(suppressed(net.forward(net.getUnconnectedOutLayersNames()), size))
        clipped.append(Detections(clip(plain[-1].boxes, size), plain[-1].scores, plain[-1].labels))
        (found,) = fastest.predict(torch.from_numpy(small).permute(2, 0, 1))
        scale = torch.tensor([size[1], size[0], size[1], size[0]]) / 320
        own.append(Detections(found.boxes * scale, found.scores, found.labels))
    fastest.head.spec = spec
    figures = [measure(data, found).metrics for found in (plain, clipped, own)]
    (ap, _, ours), (ap50, _, ours50) = ([figure[name] for figure in figures] for name in ("AP", "AP50"))
    assert (ap, ap50) == (pytest.approx(0.1325, abs=1e-4), pytest.approx(0.2431, abs=1e-4))
    assert (ours, ours50) == (pytest.approx(0.1325, abs=0.003), pytest.approx(0.2431, abs=0.003))
    assert ours == pytest.approx(figures[1]["AP"], abs=2e-4)
    assert [len(found) for found in own] == [len(found) for found in clipped]


def suppressed(outputs: Sequence[np.ndarray], size: tuple[int, int]) -> Detections:
    """Return the detections in rows of OpenCV's: above 0.005, suppressed by class at 0.45, not clipped."""
    rows = torch.from_numpy(np.concatenate(outputs))
    row, labels = (rows[:, 5:] > 0.005).nonzero(as_tuple=True)
    scores, centre, half = rows[row, 5 + labels], rows[row, :2], rows[row, 2:4] / 2
    boxes = torch.cat([centre - half, centre + half], dim=1) * torch.tensor([size[1], size[0], size[1], size[0]])
    if not len(boxes):
        return Detections()
    kept = suppress(boxes - boxes.amin(), scores, labels, 0.45, 300)
    return Detections(boxes[kept], scores[kept], labels[kept])
