"""The head of YOLOv3, YOLOv4 and YOLOv5 (Redmon and Farhadi, "YOLOv3", 2018, section 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo_core.errors import InputError
from zoo_core.interfaces import SHARED, DenseHead
from zoo_core.ops.boxes import clip, nonempty
from zoo_core.ops.nms import suppress
from zoo_core.types import Channels, Detections, Features, ImageBatch, Losses
from zoo_yolo.head.anchor_map import BOX, CLASSES, OBJECTNESS, AnchorMap
from zoo_yolo.head.objective import Objective
from zoo_yolo.head.specs import YoloHeadSpec

EXPECTED_OBJECTS, EXPECTED_SIDE, EXPECTED_CLASS = 8, 640, 0.6
"""What the biases begin with, our choice: so many objects of each anchor in an image of so many pixels square, and this share
of a class over all classes."""


@dataclass(frozen=True)
class YoloOutput:
    """For each stride, the map (N, A * (5 + K), H, W); channels anchor by anchor: x, y, width, height, objectness, classes."""

    maps: dict[int, Tensor]


class YoloHead(DenseHead[YoloOutput]):
    """Says at each anchor of each cell where the box is, whether there is an object, and of which classes.

    A score is objectness times class; the classes do not exclude each other.
    """

    def __init__(self, spec: YoloHeadSpec, channels: Channels, num_classes: int) -> None:
        super().__init__()
        if len(spec.anchors) != len(channels):
            strides = ", ".join(str(stride) for stride in channels)
            raise InputError(
                f"dense head 'yolo_head' has anchors for {len(spec.anchors)} maps, the neck gives {len(channels)} "
                f"(strides {strides}); give anchors for each map, by ascending stride"
            )
        self.spec = spec
        self.num_classes = num_classes
        self.strides = sorted(channels)
        self.objective = Objective(spec, num_classes)
        self.predict = nn.ModuleDict()
        for stride, anchors in zip(self.strides, spec.anchors, strict=True):
            layer = nn.Conv2d(channels[stride], len(anchors) * (5 + num_classes), 1)
            self.predict[str(stride)] = layer
            _set_biases(layer, stride, num_classes)
            # Buffers go to the device with the weights; they are no part of what is saved.
            self.register_buffer(f"anchors_{stride}", torch.tensor(anchors, dtype=torch.float32), persistent=False)

    def forward(self, features: Features) -> YoloOutput:
        """Return the map of each stride."""
        return YoloOutput({stride: self.predict[str(stride)](features[stride]) for stride in self.strides})

    def anchor_maps(self, raw: YoloOutput) -> list[AnchorMap]:
        """Return the maps with their anchors, by ascending stride."""
        found = []
        for stride, scale in zip(self.strides, self.spec.scales, strict=True):
            anchors = self.get_buffer(f"anchors_{stride}").float()
            count, _, height, width = raw.maps[stride].shape
            logits = raw.maps[stride].reshape(count, len(anchors), -1, height * width)
            found.append(AnchorMap(logits, (height, width), stride, anchors, self.spec.box, scale))
        return found

    def losses(self, raw: YoloOutput, batch: ImageBatch) -> Losses:
        """Return the losses of boxes, objectness and classes; see `Objective`."""
        return self.objective(self.anchor_maps(raw), batch)

    @torch.no_grad()
    def decode(self, raw: YoloOutput, batch: ImageBatch) -> list[Detections]:
        """Return the detections of each image, best first."""
        parts = [self._places(map_) for map_ in self.anchor_maps(raw)]
        image, boxes, scores = (torch.cat(column) for column in zip(*parts, strict=True))
        if self.spec.several_labels:
            row, label = (scores > self.spec.least_score).nonzero(as_tuple=True)
            score = scores[row, label]
        else:
            score, label = scores.max(dim=1)
            row = (score > self.spec.least_score).nonzero().squeeze(1)
            score, label = score[row], label[row]
        image, found = image[row], Detections(boxes[row], score, label)
        return [
            self._select(found[(image == k).nonzero().squeeze(1)], size, origin)
            for k, (size, origin) in enumerate(zip(batch.sizes, batch.origins, strict=True))
        ]

    def _places(self, map_: AnchorMap) -> tuple[Tensor, Tensor, Tensor]:
        """Return image (P,), box (P, 4) and scores (P, K) of the places whose objectness alone is great enough."""
        image, place = (map_.objectness().sigmoid() > self.spec.least_score).nonzero(as_tuple=True)
        rows = map_.rows(image, place)
        boxes = map_.boxes(rows[:, BOX], place) + map_.middles(place).repeat(1, 2)
        scores = rows[:, CLASSES:].sigmoid().mul_(rows[:, OBJECTNESS, None].sigmoid())
        return image, boxes, scores

    def _select(self, found: Detections, size: tuple[int, int], origin: tuple[int, int]) -> Detections:
        """Return the detections that stand. Boxes overlap as the network says them, and are clipped after that."""
        if not len(found):
            return found
        if len(found) > self.spec.candidates:
            found = found[found.scores.topk(self.spec.candidates).indices]
        # Classes are kept apart by a shift, which holds for coordinates from 0 on only.
        kept = suppress(
            found.boxes - found.boxes.amin(), found.scores, found.labels, self.spec.nms_iou, self.spec.most_detections
        )
        found = found[kept]
        if not self.spec.clip:
            return found
        boxes = clip(found.boxes, size, origin)
        return Detections(boxes, found.scores, found.labels)[nonempty(boxes)]

    def class_rows(self) -> dict[str, Tensor]:
        """Return the class of each row of the layers: boxes and objectness are shared, the others belong to one class."""
        rows = torch.cat([torch.full((CLASSES,), SHARED), torch.arange(self.num_classes)])
        found = {}
        for stride, anchors in zip(self.strides, self.spec.anchors, strict=True):
            for name in ("weight", "bias"):
                found[f"predict.{stride}.{name}"] = rows.repeat(len(anchors))
        return found


def _set_biases(layer: nn.Conv2d, stride: int, num_classes: int) -> None:
    """Begin with few objects and no class before the others (Lin et al., "Focal loss", 2017, section 3.3)."""
    if layer.bias is None:
        return
    with torch.no_grad():
        bias = layer.bias.view(-1, CLASSES + num_classes)
        bias[:, BOX] = 0
        bias[:, OBJECTNESS] = _logit(min(EXPECTED_OBJECTS * (stride / EXPECTED_SIDE) ** 2, 0.5))
        bias[:, CLASSES:] = _logit(EXPECTED_CLASS / num_classes)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
