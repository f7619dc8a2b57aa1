"""The second stage of Faster R-CNN (Girshick, "Fast R-CNN", 2015; on a pyramid: Lin et al., "FPN", 2017, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor, nn

from zoo_core.build import build_part
from zoo_core.errors import InputError
from zoo_core.interfaces import BACKGROUND, Assigner, RoIHead, Sampler
from zoo_core.ops.boxes import clip, nonempty
from zoo_core.ops.deltas import MOST_LOG_RATIO, DeltaCoder
from zoo_core.ops.losses import l1, softmax_cross_entropy
from zoo_core.ops.nms import suppress
from zoo_core.ops.roi_align import pyramid_roi_align
from zoo_core.types import Assignment, Channels, Detections, Features, ImageBatch, Losses, Size, Targets
from zoo_rcnn.specs import BoxHeadSpec


class BoxHead(RoIHead):
    """Pools each proposal, and says of what class it is and where exactly; the background is the last column."""

    def __init__(self, spec: BoxHeadSpec, channels: Channels, num_classes: int) -> None:
        super().__init__()
        missing = [stride for stride in spec.strides if stride not in channels]
        if missing:
            raise InputError(f"roi head 'box_head' pools from strides {missing}, but the maps have {list(channels)}")
        widths = {channels[stride] for stride in spec.strides}
        if len(widths) != 1:
            raise InputError(f"roi head 'box_head' needs maps of the same width; they have {channels}")
        self.spec = spec
        self.num_classes = num_classes
        self.assigner: Assigner = build_part("assigner", spec.assigner)
        self.sampler: Sampler = build_part("sampler", spec.sampler)
        self.coder = DeltaCoder(spec.std, least_log_ratio=-MOST_LOG_RATIO if spec.shrink_bound else -inf)
        self.shared = nn.ModuleList([nn.Linear(widths.pop() * spec.roi_size**2, spec.width), nn.Linear(spec.width, spec.width)])
        self.classes = nn.Linear(spec.width, num_classes + 1)
        self.deltas = nn.Linear(spec.width, 4 * num_classes)
        for layer in self.shared:
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (*self.shared, self.classes, self.deltas):
            nn.init.zeros_(layer.bias)

    def class_rows(self) -> dict[str, Tensor]:
        """Return the class of each row of the predictors; the last row is the background."""
        classes = torch.arange(self.num_classes)
        scores, deltas = torch.cat([classes, torch.tensor([BACKGROUND])]), classes.repeat_interleave(4)
        return {"classes.weight": scores, "classes.bias": scores, "deltas.weight": deltas, "deltas.bias": deltas}

    def forward(self, features: Features, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits (R, K + 1) and box deltas (R, K, 4) of regions (R, 5): image index and xyxy."""
        spec = self.spec
        maps = {stride: features[stride] for stride in spec.strides}
        pooled = pyramid_roi_align(maps, rois, spec.roi_size, sampling=spec.roi_sampling, aligned=spec.roi_aligned)
        hidden = pooled.flatten(1)
        for layer in self.shared:
            hidden = layer(hidden).relu_()
        return self.classes(hidden).float(), self.deltas(hidden).float().view(len(rois), self.num_classes, 4)

    def losses(self, features: Features, proposals: Sequence[Detections], batch: ImageBatch) -> Losses:
        """Return the cross entropy of the classes and the L1 of the deltas, both over the number of sampled regions."""
        rois, labels, positives, goals = [], [], [], []
        for found, targets in zip(proposals, batch.targets or (), strict=True):
            boxes, sampled = self.sample(found, targets)
            positive, negative = sampled.priors, sampled.background()
            rois.append(boxes[torch.cat([positive, negative])])
            background = torch.full_like(negative, self.num_classes)
            labels.append(torch.cat([targets.labels[sampled.targets], background]))
            positives.append(torch.arange(len(labels[-1]), device=boxes.device) < len(positive))
            goals.append(self.coder.encode(boxes[positive], targets.boxes[sampled.targets]))
        logits, deltas = self(features, as_rois(rois))
        label, positive = torch.cat(labels), torch.cat(positives).nonzero().squeeze(1)
        divisor = max(len(label), 1)
        return {
            "classes": softmax_cross_entropy(logits, label, divisor),
            "boxes": l1(deltas[positive, label[positive]], torch.cat(goals), divisor),
        }

    def sample(self, proposals: Detections, targets: Targets) -> tuple[Tensor, Assignment]:
        """Return the regions (R, 4) of an image and which of them are trained on; targets come first, each its own."""
        assignment = self.assigner(proposals.boxes, targets, proposals)
        boxes = proposals.boxes
        if self.spec.add_targets:
            boxes = torch.cat([targets.boxes, boxes])
            assignment = assignment.with_targets_first(len(targets))
        return boxes, self.sampler(assignment)

    def detect(self, features: Features, proposals: Sequence[Detections], batch: ImageBatch) -> list[Detections]:
        """Return the detections of each image in the frame of the batch, best first."""
        logits, deltas = self(features, as_rois([found.boxes for found in proposals]))
        counts = [len(found) for found in proposals]
        return [
            self.select(found.boxes, logit.softmax(dim=1), delta, size, origin)
            for found, logit, delta, size, origin in zip(
                proposals, logits.split(counts), deltas.split(counts), batch.sizes, batch.origins, strict=True
            )
        ]

    def select(self, rois: Tensor, scores: Tensor, deltas: Tensor, size: Size, origin: Size = (0, 0)) -> Detections:
        """Return the detections of one image from its regions (R, 4), scores (R, K + 1) and deltas (R, K, 4)."""
        spec = self.spec
        region, label = (scores[:, :-1] > spec.least_score).nonzero(as_tuple=True)
        boxes = clip(self.coder.decode(rois[region], deltas[region, label]), size, origin)
        score = scores[region, label]
        if spec.least_side is not None:
            keep = nonempty(boxes, spec.least_side)
            boxes, score, label = boxes[keep], score[keep], label[keep]
        kept = suppress(boxes, score, label, spec.nms_iou, spec.most_detections)
        return Detections(boxes[kept], score[kept], label[kept])


def as_rois(boxes: Sequence[Tensor]) -> Tensor:
    """Return the boxes of all images as regions (R, 5): the image's index in the batch, then xyxy."""
    return torch.cat([torch.cat([b.new_full((len(b), 1), k), b], dim=1) for k, b in enumerate(boxes)])
