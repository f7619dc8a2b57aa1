"""The region proposal network (Ren et al., "Faster R-CNN", 2015, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from zoo_core.build import build_part
from zoo_core.errors import InputError
from zoo_core.interfaces import Assigner, DenseHead, Sampler
from zoo_core.ops.anchors import base_anchors, grid_anchors, inside_image
from zoo_core.ops.boxes import clip, nonempty
from zoo_core.ops.deltas import MOST_LOG_RATIO, DeltaCoder
from zoo_core.ops.losses import binary_cross_entropy, l1
from zoo_core.ops.nms import suppress
from zoo_core.types import Assignment, Channels, Detections, Features, ImageBatch, Losses, Size, Targets
from zoo_rcnn.specs import RPNSpec


@dataclass(frozen=True)
class RPNOutput:
    """For each stride: logits (N, H * W * A), deltas (N, H * W * A, 4), anchors (H * W * A, 4), and the map's (H, W)."""

    logits: dict[int, Tensor]
    deltas: dict[int, Tensor]
    anchors: dict[int, Tensor]
    shapes: dict[int, tuple[int, int]]


class RPN(DenseHead[RPNOutput]):
    """Says at every anchor whether there is an object, and moves the anchor onto it."""

    def __init__(self, spec: RPNSpec, channels: Channels, num_classes: int = 1) -> None:
        super().__init__()
        widths = set(channels.values())
        if num_classes != 1:
            raise InputError(f"dense head 'rpn' knows one class, not {num_classes}")
        if len(widths) != 1:
            raise InputError(f"dense head 'rpn' is shared by all maps, which need the same width; they have {channels}")
        self.spec = spec
        self.strides = list(channels)
        self.assigner: Assigner = build_part("assigner", spec.assigner)
        self.sampler: Sampler = build_part("sampler", spec.sampler)
        self.coder = DeltaCoder(spec.std, least_log_ratio=-MOST_LOG_RATIO if spec.shrink_bound else -inf)
        self.per_cell = len(spec.scales) * len(spec.ratios)
        for stride in self.strides:  # buffers go to the device with the weights; they are no part of what is saved
            base = base_anchors(stride, spec.scales, spec.ratios)
            self.register_buffer(f"base_{stride}", base.round() if spec.rounded else base, persistent=False)
        incoming = widths.pop()
        width = spec.width or incoming
        self.conv = nn.Conv2d(incoming, width, 3, padding=1)
        self.objectness = nn.Conv2d(width, self.per_cell, 1)
        self.deltas = nn.Conv2d(width, 4 * self.per_cell, 1)
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: Features) -> RPNOutput:
        """Return logits and deltas for every anchor."""
        logits, deltas, anchors, shapes = {}, {}, {}, {}
        for stride in self.strides:
            hidden = self.conv(features[stride]).relu_()
            count, _, height, width = hidden.shape
            logits[stride] = self.objectness(hidden).permute(0, 2, 3, 1).reshape(count, -1)
            deltas[stride] = self.deltas(hidden).permute(0, 2, 3, 1).reshape(count, -1, 4)
            step = self._step(features, stride) if self.spec.fitted_steps else stride
            anchors[stride] = grid_anchors(self.get_buffer(f"base_{stride}"), (height, width), step)
            shapes[stride] = (height, width)
        return RPNOutput(logits, deltas, anchors, shapes)

    def _step(self, features: Features, stride: int) -> Size:
        """Return how far apart the cells of a map lie: as often as they go into the image, whose size the finest map tells."""
        finest = self.strides[0]
        (tall, wide), (height, width) = features[finest].shape[-2:], features[stride].shape[-2:]
        return tall * finest // height, wide * finest // width

    def losses(self, raw: RPNOutput, batch: ImageBatch) -> Losses:
        """Return the cross entropy of objectness and the L1 of the deltas, both over the number of sampled anchors."""
        anchors = torch.cat(list(raw.anchors.values()))
        logits = torch.cat(list(raw.logits.values()), dim=1).float()  # (N, A)
        deltas = torch.cat(list(raw.deltas.values()), dim=1).float()  # (N, A, 4)
        chosen_logits, goals, chosen_deltas, delta_goals, divisor = [], [], [], [], 0
        for image, targets in enumerate(batch.targets or ()):
            sampled = self.sample(raw, anchors, targets, batch, image)
            positive, negative = sampled.priors, sampled.background()
            chosen_logits.append(logits[image, torch.cat([positive, negative])])
            goals.append(torch.cat([logits.new_ones(len(positive)), logits.new_zeros(len(negative))]))
            chosen_deltas.append(deltas[image, positive])
            delta_goals.append(self.coder.encode(anchors[positive], targets.boxes[sampled.targets]))
            divisor += max(len(positive), 1) + max(len(negative), 1)
        return {
            "objectness": binary_cross_entropy(torch.cat(chosen_logits), torch.cat(goals), divisor),
            "boxes": l1(torch.cat(chosen_deltas), torch.cat(delta_goals), divisor),
        }

    def sample(self, raw: RPNOutput, anchors: Tensor, targets: Targets, batch: ImageBatch, image: int) -> Assignment:
        """Return which anchors (A, 4) of an image are trained on, and which target each answers for."""
        inside = self._inside(raw, anchors, batch, image).nonzero().squeeze(1)
        assignment = self.sampler(self.assigner(anchors[inside], targets))
        return assignment.shifted(inside, len(anchors))

    def _inside(self, raw: RPNOutput, anchors: Tensor, batch: ImageBatch, image: int) -> Tensor:
        """Return a mask (A,) of the anchors that belong to the image: on its padded area, not too far over its border."""
        padded, device = batch.padded[image], anchors.device
        inside = torch.cat([inside_image(s, k, padded, self.per_cell, device) for k, s in raw.shapes.items()])
        if self.spec.border is not None:
            (height, width), (top, left), border = batch.sizes[image], batch.origins[image], self.spec.border
            corner = anchors.new_tensor([left, top])
            limits = corner + anchors.new_tensor([width + border, height + border])
            inside &= (anchors[:, :2] >= corner - border).all(dim=1) & (anchors[:, 2:] < limits).all(dim=1)
        return inside

    @torch.no_grad()
    def decode(self, raw: RPNOutput, batch: ImageBatch) -> list[Detections]:
        """Return the proposals of each image, best first; more candidates are looked at when there are targets."""
        most = self.spec.candidates if batch.targets is None else self.spec.candidates_train
        boxes, scores, levels = [], [], []  # (N, k, 4), (N, k), (k,) for each level
        for level, stride in enumerate(self.strides):
            logits = raw.logits[stride].float()
            best, order = logits.topk(min(most, logits.shape[1]), dim=1)
            deltas = raw.deltas[stride].float().gather(1, order[..., None].expand(-1, -1, 4))
            boxes.append(self.coder.decode(raw.anchors[stride][order], deltas))
            scores.append(best if self.spec.rank_by == "logit" else best.sigmoid())
            levels.append(torch.full((best.shape[1],), level, device=best.device))
        return [
            self._suppress(torch.cat([b[k] for b in boxes]), torch.cat([s[k] for s in scores]), torch.cat(levels), region)
            for k, region in enumerate(zip(batch.sizes, batch.origins, strict=True))
        ]

    def _suppress(self, boxes: Tensor, scores: Tensor, levels: Tensor, region: tuple[Size, Size]) -> Detections:
        boxes = clip(boxes, *region)
        keep = nonempty(boxes, self.spec.least_side)
        boxes, scores, levels = boxes[keep], scores[keep], levels[keep]
        kept = suppress(boxes, scores, levels, self.spec.nms_iou, self.spec.proposals)
        best = scores[kept].sigmoid() if self.spec.rank_by == "logit" else scores[kept]
        return Detections(boxes[kept], best, torch.zeros_like(levels[kept]))
