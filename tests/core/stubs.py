"""Small parts for tests of the core: real enough to train and to detect, and of no plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from zoo_core.build import build_part
from zoo_core.contributions import Component, Recipe
from zoo_core.detectors.specs import OneStageSpec, TwoStageSpec
from zoo_core.interfaces import SHARED, Backbone, DenseHead, Neck, RoIHead
from zoo_core.ops.boxes import clip, nonempty
from zoo_core.ops.deltas import DeltaCoder
from zoo_core.ops.iou import iou
from zoo_core.ops.losses import binary_cross_entropy, l1, softmax_cross_entropy
from zoo_core.ops.roi_align import pyramid_roi_align
from zoo_core.recipes import override
from zoo_core.specs import AssignerSlot, ComponentSpec, SamplerSlot
from zoo_core.types import Assignment, Channels, Detections, Features, ImageBatch, Losses, Targets

Share = Annotated[float, Field(ge=0, le=1)]


class BlocksSpec(ComponentSpec):
    type: str = "blocks"
    width: PositiveInt = 4
    frozen: bool = False


class Blocks(Backbone):
    """Maps of strides 8 and 16, by convolutions that do not overlap."""

    def __init__(self, spec: BlocksSpec) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, spec.width, 8, stride=8).requires_grad_(not spec.frozen)
        self.coarse = nn.Conv2d(spec.width, 2 * spec.width, 2, stride=2)
        self.channels = {8: spec.width, 16: 2 * spec.width}
        self.asked_for_weights = 0

    def forward(self, images: Tensor) -> Features:
        fine = self.fine(images).tanh()
        return {8: fine, 16: self.coarse(fine)}

    def load_pretrained(self) -> None:
        self.asked_for_weights += 1


class EvenSpec(ComponentSpec):
    type: str = "even"
    width: PositiveInt = 8


class Even(Neck):
    """All maps to one width."""

    def __init__(self, spec: EvenSpec, channels: Channels) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({str(s): nn.Conv2d(c, spec.width, 1) for s, c in channels.items()})
        self.channels = dict.fromkeys(channels, spec.width)

    def forward(self, features: Features) -> Features:
        return {int(s): layer(features[int(s)]) for s, layer in self.layers.items()}


class OverlapSpec(ComponentSpec):
    type: str = "overlap"
    positive: Share = 0.5
    negative: Share = 0.4


class Overlap:
    """A prior answers for the target that it overlaps most, if enough."""

    def __init__(self, spec: OverlapSpec) -> None:
        self.spec = spec

    def __call__(
        self, priors: Tensor, targets: Targets, predictions: Detections | None = None, strides: Tensor | None = None
    ) -> Assignment:
        if not len(targets):
            none = torch.zeros(0, dtype=torch.int64)
            return Assignment(none, none, torch.zeros(len(priors), dtype=torch.bool))
        best, owner = iou(priors, targets.boxes).max(dim=1)
        chosen = (best >= self.spec.positive).nonzero().squeeze(1)
        ignored = (best >= self.spec.negative) & (best < self.spec.positive)
        return Assignment(chosen, owner[chosen], ignored)


class FirstSpec(ComponentSpec):
    type: str = "first"
    count: PositiveInt = 64


class First:
    """All pairs, and the first so many of the background."""

    def __init__(self, spec: FirstSpec) -> None:
        self.count = spec.count

    def __call__(self, assignment: Assignment, generator: torch.Generator | None = None) -> Assignment:
        ignored = assignment.ignored.clone()
        ignored[assignment.background()[self.count :]] = True
        return Assignment(assignment.priors, assignment.targets, ignored)


class PlainHeadSpec(ComponentSpec):
    type: str = "plain_head"
    side: Annotated[float, Field(gt=0)] = 2.0
    least_score: Share = 0.0
    most: PositiveInt = 50
    assigner: AssignerSlot = OverlapSpec()
    sampler: SamplerSlot = FirstSpec()


class PlainHead(DenseHead[dict[int, Tensor]]):
    """One square anchor at each cell, all classes and four deltas from one convolution."""

    def __init__(self, spec: PlainHeadSpec, channels: Channels, num_classes: int) -> None:
        super().__init__()
        self.spec, self.num_classes, self.coder = spec, num_classes, DeltaCoder()
        self.assigner, self.sampler = build_part("assigner", spec.assigner), build_part("sampler", spec.sampler)
        self.layers = nn.ModuleDict({str(s): nn.Conv2d(c, num_classes + 4, 1) for s, c in channels.items()})

    def forward(self, features: Features) -> dict[int, Tensor]:
        return {int(s): layer(features[int(s)]).float() for s, layer in self.layers.items()}

    def class_rows(self) -> dict[str, Tensor]:
        rows = torch.tensor([*range(self.num_classes), *[SHARED] * 4])
        return {f"layers.{stride}.{leaf}": rows for stride in self.layers for leaf in ("weight", "bias")}

    def _flat(self, raw: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        flat = torch.cat([map_.flatten(2) for map_ in raw.values()], dim=2).transpose(1, 2)  # (N, A, K + 4)
        anchors = []
        for stride, map_ in raw.items():
            y, x = torch.meshgrid(torch.arange(map_.shape[2]), torch.arange(map_.shape[3]), indexing="ij")
            centre = torch.stack([x, y], dim=-1).view(-1, 2) * stride + stride / 2
            half = stride * self.spec.side / 2
            anchors.append(torch.cat([centre - half, centre + half], dim=1))
        return flat, torch.cat(anchors)

    def losses(self, raw: dict[int, Tensor], batch: ImageBatch) -> Losses:
        flat, anchors = self._flat(raw)
        classes, boxes = flat.sum() * 0, flat.sum() * 0
        for row, targets in zip(flat, batch.targets or (), strict=True):
            sampled = self.sampler(self.assigner(anchors, targets))
            known = torch.cat([sampled.priors, sampled.background()])
            goals = torch.zeros(len(known), self.num_classes)
            goals[torch.arange(len(sampled.priors)), targets.labels[sampled.targets]] = 1
            classes = classes + binary_cross_entropy(row[known, :-4], goals, max(len(known), 1))
            wanted = self.coder.encode(anchors[sampled.priors], targets.boxes[sampled.targets])
            boxes = boxes + l1(row[sampled.priors, -4:], wanted, max(len(sampled.priors), 1))
        return {"classes": classes, "boxes": boxes}

    @torch.no_grad()
    def decode(self, raw: dict[int, Tensor], batch: ImageBatch) -> list[Detections]:
        flat, anchors = self._flat(raw)
        found = []
        for row, size in zip(flat, batch.sizes, strict=True):
            scores, labels = row[:, :-4].sigmoid().max(dim=1)
            boxes = clip(self.coder.decode(anchors, row[:, -4:]), size)
            keep = ((scores > self.spec.least_score) & nonempty(boxes)).nonzero().squeeze(1)
            keep = keep[scores[keep].argsort(descending=True, stable=True)[: self.spec.most]]
            found.append(Detections(boxes[keep], scores[keep], labels[keep]))
        return found


class PoolHeadSpec(ComponentSpec):
    type: str = "pool_head"
    width: PositiveInt = 16
    assigner: AssignerSlot = OverlapSpec(positive=0.5, negative=0.5)


class PoolHead(RoIHead):
    """Pools each proposal to 2 x 2 and says of what class it is; boxes are the proposals', moved."""

    def __init__(self, spec: PoolHeadSpec, channels: Channels, num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.coder, self.assigner = num_classes, DeltaCoder(), build_part("assigner", spec.assigner)
        self.hidden = nn.Linear(4 * next(iter(channels.values())), spec.width)
        self.output = nn.Linear(spec.width, num_classes + 5)

    def class_rows(self) -> dict[str, Tensor]:
        rows = torch.tensor([*range(self.num_classes), *[SHARED] * 5])
        return {"output.weight": rows, "output.bias": rows}

    def _outputs(self, features: Features, proposals: Sequence[Detections]) -> tuple[Tensor, Tensor]:
        index = torch.cat([torch.full((len(found), 1), float(k)) for k, found in enumerate(proposals)])
        rois = torch.cat([index, torch.cat([found.boxes for found in proposals])], dim=1)
        output = self.output(self.hidden(pyramid_roi_align(features, rois, 2).flatten(1)).tanh()).float()
        return output[:, :-4], output[:, -4:]

    def losses(self, features: Features, proposals: Sequence[Detections], batch: ImageBatch) -> Losses:
        logits, deltas = self._outputs(features, proposals)
        labels, goals = torch.full((len(logits),), self.num_classes), torch.zeros(len(logits), 4)
        start = 0
        for found, targets in zip(proposals, batch.targets or (), strict=True):
            pairs = self.assigner(found.boxes, targets)
            labels[start + pairs.priors] = targets.labels[pairs.targets]
            goals[start + pairs.priors] = self.coder.encode(found.boxes[pairs.priors], targets.boxes[pairs.targets])
            start += len(found)
        positive, count = labels < self.num_classes, max(len(labels), 1)
        return {
            "classes": softmax_cross_entropy(logits, labels, count),
            "boxes": l1(deltas[positive], goals[positive], count),
        }

    def detect(self, features: Features, proposals: Sequence[Detections], batch: ImageBatch) -> list[Detections]:
        logits, deltas = self._outputs(features, proposals)
        counts = [len(found) for found in proposals]
        found = []
        for proposal, logit, delta, size in zip(
            proposals, logits.split(counts), deltas.split(counts), batch.sizes, strict=True
        ):
            scores, labels = logit.softmax(dim=1)[:, :-1].max(dim=1)
            order = scores.argsort(descending=True, stable=True)
            found.append(Detections(self.coder.decode(proposal.boxes, delta, size)[order], scores[order], labels[order]))
        return found


def plain_one_stage() -> OneStageSpec:
    """Return a detector of one stage."""
    return OneStageSpec(
        num_classes=3,
        preprocess={"type": "keep_ratio", "long_side": 160, "short_side": 96},  # type: ignore[arg-type]
        backbone="blocks",  # type: ignore[arg-type]
        neck="even",  # type: ignore[arg-type]
        head=PlainHeadSpec(),
    )


def plain_two_stage() -> TwoStageSpec:
    """Return a detector of two stages."""
    return TwoStageSpec(
        num_classes=3,
        preprocess={"type": "keep_ratio", "long_side": 160, "short_side": 96},  # type: ignore[arg-type]
        backbone="blocks",  # type: ignore[arg-type]
        neck={"type": "even", "width": 8},  # type: ignore[arg-type]
        proposer=PlainHeadSpec(assigner=OverlapSpec(positive=0.6, negative=0.3)),
        roi_head=PoolHeadSpec(),
    )


def plain_two_stage_wide() -> TwoStageSpec:
    """Return the same with a wider neck: one hop from the recipe that it varies."""
    return override(plain_two_stage(), {"neck": {"width": 12}})


def component(kind: str, name: str, spec: type, target: type) -> Component:
    """Return the contribution of a part that a test module defines."""
    return Component(kind, name, f"{spec.__module__}:{spec.__qualname__}", f"{target.__module__}:{target.__qualname__}")


STUBS = (
    component("backbone", "blocks", BlocksSpec, Blocks),
    component("backbone", "resnet18", BlocksSpec, Blocks),
    component("neck", "even", EvenSpec, Even),
    component("dense_head", "plain_head", PlainHeadSpec, PlainHead),
    component("roi_head", "pool_head", PoolHeadSpec, PoolHead),
    component("assigner", "overlap", OverlapSpec, Overlap),
    component("sampler", "first", FirstSpec, First),
    *(
        Recipe("detector", recipe.__name__, f"{__name__}:{recipe.__name__}", "a detector for tests")
        for recipe in (plain_one_stage, plain_two_stage, plain_two_stage_wide)
    ),
)
