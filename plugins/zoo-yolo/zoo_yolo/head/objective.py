"""What the YOLO head is trained for: boxes, objectness and classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_core.build import build_part
from zoo_core.errors import InputError
from zoo_core.interfaces import Assigner
from zoo_core.ops.iou import complete_iou, iof, iou
from zoo_core.ops.losses import binary_cross_entropy
from zoo_core.types import ImageBatch, Losses, Targets
from zoo_yolo.head.anchor_map import BOX, CLASSES, AnchorMap
from zoo_yolo.head.specs import YoloHeadSpec

COLUMNS = 8
"""Targets or regions that all boxes of an image are compared with at one time: bounds the memory."""
PUBLISHED_MAPS, PUBLISHED_CLASSES = 3, 80
"""What YOLOv5's weights are published for; for others they are scaled."""


@dataclass(frozen=True)
class Pairs:
    """Matched priors and their targets, of all images of a batch.

    Attributes:
        image: (P,) int64.
        place: (P,) int64, the prior, counted over all maps.
        boxes: (P, 4), the target's.
        labels: (P,) int64, the target's.
    """

    image: Tensor
    place: Tensor
    boxes: Tensor
    labels: Tensor

    def of_map(self, start: int, count: int) -> Pairs:
        """Return the pairs of the map whose priors are `count` from `start` on, counted over that map alone."""
        mine = ((self.place >= start) & (self.place < start + count)).nonzero().squeeze(1)
        return Pairs(self.image[mine], self.place[mine] - start, self.boxes[mine], self.labels[mine])


class Objective:
    """Complete-IoU loss of the boxes (Zheng et al., 2020, "Distance-IoU loss"), cross entropies of objectness and classes.

    With the divisor "mean" (YOLOv5), for each map the mean over the pairs of box loss and class loss, and over all places of
    the objectness loss; these are added up over the maps, times 3 / maps, the class loss also times K / 80, and everything
    times the number of images. With "images" (Darknet), everything is summed. So both grow with the number of images, and
    the learning rate is per image: Darknet divides its own by the batch.
    """

    def __init__(self, spec: YoloHeadSpec, num_classes: int) -> None:
        self.spec = spec
        self.num_classes = num_classes
        self.assigner: Assigner = build_part("assigner", spec.assigner)

    def __call__(self, maps: Sequence[AnchorMap], batch: ImageBatch) -> Losses:
        """Return the losses against ``batch.targets``, in float32."""
        if batch.targets is None:
            raise InputError("dense head 'yolo_head' is asked for losses of a batch without targets")
        spec = self.spec
        pairs, left_out = self.assign(maps, batch.targets)
        totals, start = [], 0
        for map_, balance in zip(maps, spec.balance, strict=True):
            count = len(map_)
            boxes, objectness, classes = self._map_losses(map_, pairs.of_map(start, count), left_out[:, start : start + count])
            totals.append(torch.stack([boxes, objectness * balance, classes]))
            start += count
        boxes, objectness, classes = torch.stack(totals).sum(dim=0)
        scale, class_scale = 1.0, 1.0
        if spec.divisor == "mean":
            scale = len(batch) * PUBLISHED_MAPS / len(maps)
            class_scale = scale * self.num_classes / PUBLISHED_CLASSES
        return {
            "boxes": boxes * (spec.box_weight * scale),
            "objectness": objectness * (spec.objectness_weight * scale),
            "classes": classes * (spec.class_weight * class_scale),
        }

    @torch.no_grad()
    def assign(self, maps: Sequence[AnchorMap], targets: Sequence[Targets]) -> tuple[Pairs, Tensor]:
        """Return the pairs of all images, and a mask (N, A) of the priors that are not background though in no pair."""
        priors = torch.cat([map_.priors() for map_ in maps])
        strides = torch.cat([torch.full((len(map_),), map_.stride, device=priors.device) for map_ in maps])
        parts, left_out = [], []
        for image, known in enumerate(targets):
            found = self.assigner(priors, known, None, strides)
            images = torch.full_like(found.priors, image)
            parts.append((images, found.priors, known.boxes[found.targets].float(), known.labels[found.targets]))
            left_out.append(self._undecided(maps, image, known, found.ignored))
        return Pairs(*(torch.cat(column) for column in zip(*parts, strict=True))), torch.stack(left_out)

    def _undecided(self, maps: Sequence[AnchorMap], image: int, targets: Targets, ignored: Tensor) -> Tensor:
        """Return `ignored` (A,) and the priors whose predicted box is on a target, or in an ignored region."""
        rules: list[tuple[Callable[[Tensor, Tensor], Tensor], Tensor, float]] = []
        if self.spec.background_iou is not None and len(targets):
            rules.append((iou, targets.boxes, self.spec.background_iou))
        if self.spec.ignore is not None and len(targets.ignored):
            rules.append((iof, targets.ignored, self.spec.ignore))
        if rules:
            found = torch.cat([map_.image_boxes(image) for map_ in maps])
            for overlap, boxes, most in rules:
                for some in torch.split(boxes, COLUMNS):
                    ignored = ignored | (overlap(found, some).amax(dim=1) > most)
        return ignored

    def _map_losses(self, map_: AnchorMap, pairs: Pairs, left_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the losses of boxes, objectness and classes of one map, without their weights."""
        mean = self.spec.divisor == "mean"
        logits, rows = map_.objectness(), map_.rows(pairs.image, pairs.place)  # (N, count), (P, 5 + K)
        goals = pairs.boxes - map_.middles(pairs.place).repeat(1, 2)
        quality = complete_iou(map_.boxes(rows[:, BOX], pairs.place), goals)
        boxes = (1 - quality).sum() / (max(len(rows), 1) if mean else 1)
        classes = rows[:, CLASSES:]
        class_loss = binary_cross_entropy(
            classes, self._class_goals(classes, pairs.labels), max(classes.numel(), 1) if mean else 1
        )
        goal, counted = torch.zeros_like(logits).flatten(), (~left_out).flatten()
        goal_of_pair = quality.detach() if self.spec.objectness == "iou" else torch.ones_like(quality)
        index = pairs.image * len(map_) + pairs.place
        goal = goal.scatter_reduce(0, index, goal_of_pair, "amax")  # at least 0; of several targets, the best
        counted = counted.index_fill(0, index, True)
        loss = F.binary_cross_entropy_with_logits(logits.flatten(), goal, counted.to(goal.dtype), reduction="sum")
        return boxes, loss / (goal.numel() if mean else 1), class_loss

    def _class_goals(self, classes: Tensor, labels: Tensor) -> Tensor:
        """Return the goals (P, K) of the classes: 1 and 0, each moved by half the smoothing."""
        away = self.spec.label_smoothing / 2
        return torch.full_like(classes, away).scatter_(1, labels[:, None], 1 - away)
