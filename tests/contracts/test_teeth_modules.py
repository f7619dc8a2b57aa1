"""The suite has teeth: learned parts that break one promise each are caught, with a message that says which."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.core import stubs
from tests.core.stubs import Blocks, Even, PlainHead, PoolHead, component
from zoo_core.registry import contributed
from zoo_core.testing import ContractError, check_backbone, check_dense_head, check_neck, check_roi_head

pytestmark = pytest.mark.usefixtures("stubs")
CHANNELS = {8: 4, 16: 4}


def caught(kind: str, target: type, spec: type, check: Callable[..., None], *arguments: Any, **keywords: Any) -> str:
    """Return what the suite says of a part."""
    with contributed(component(kind, "broken", spec, target)), pytest.raises(ContractError) as error:
        check("broken", *arguments, **keywords)
    assert str(error.value).startswith(f"{kind.replace('_', ' ')} 'broken'")
    return str(error.value)


class PromisesTooMuch(Blocks):
    def __init__(self, spec):
        super().__init__(spec)
        self.channels = {8: 5, 16: 8}


class ForgetsAMap(Blocks):
    def forward(self, images):
        return {8: super().forward(images)[8]}


class Descends(Blocks):
    def __init__(self, spec):
        super().__init__(spec)
        self.channels = dict(reversed(self.channels.items()))


class WrongScale(Blocks):
    def forward(self, images):
        maps = super().forward(images)
        return {8: maps[8], 16: maps[16][..., ::2]}


class GivesNaN(Blocks):
    def forward(self, images):
        return {stride: map_ / 0 * 0 for stride, map_ in super().forward(images).items()}


class Idle(Blocks):
    def __init__(self, spec):
        super().__init__(spec)
        self.spare = nn.Parameter(torch.zeros(3))


class Noisy(Blocks):
    def forward(self, images):
        return {stride: map_ + torch.randn(()) * random.random() for stride, map_ in super().forward(images).items()}


class Hidden(Blocks):
    def __init__(self, spec):
        super().__init__(spec)
        self.factor = torch.rand(())  # neither a parameter nor a buffer

    def forward(self, images):
        return {stride: map_ * self.factor for stride, map_ in super().forward(images).items()}


class Unseeded(Blocks):
    def __init__(self, spec):
        super().__init__(spec)
        nn.init.constant_(self.fine.bias, random.random())


class Scribbles(Blocks):
    def forward(self, images):
        return super().forward(images.mul_(0.5))


class Gossips(Blocks):
    def forward(self, images):
        return {stride: map_ - map_.mean(dim=0) for stride, map_ in super().forward(images).items()}


class NoBackbone(nn.Module):
    def __init__(self, spec):
        super().__init__()


class NeedsPairs(Blocks):
    def forward(self, images):
        if len(images) == 1:
            raise RuntimeError("expected more than one image")
        return super().forward(images)


class PromisesNothing(Blocks):
    def __init__(self, spec):
        super().__init__(spec)
        self.channels = [4, 8]


class Locked(Blocks):
    def __init__(self, spec):
        super().__init__(spec)
        self.lock = threading.Lock()


class SinglePrecision(Blocks):
    def forward(self, images):
        return {
            s: (map_ @ torch.eye(map_.shape[-1])).to(torch.float32) / (map_.dtype == torch.float32)
            for s, map_ in super().forward(images).items()
        }


class ExtraState(Blocks):
    def get_extra_state(self):
        return {"anything": 1}

    def set_extra_state(self, state):
        pass


class Thaws(Blocks):
    def train(self, mode=True):
        self.requires_grad_(mode)
        return super().train(mode)


class TrainsTheFrozen(Blocks):
    def forward(self, images):
        found = super().forward(images)
        if found[16].requires_grad:
            found[16].register_hook(lambda _: setattr(self.fine.weight, "grad", torch.zeros_like(self.fine.weight)))
        return found


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Thaws, "switched to training: whether fine.bias, fine.weight is trained changes"),
        (TrainsTheFrozen, "frozen parameter 'fine.weight' gets a gradient"),
    ],
)
def test_backbone_with_a_frozen_part(target: type, message: str) -> None:
    assert message in caught("backbone", target, stubs.BlocksSpec, check_backbone, frozen=True)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (PromisesTooMuch, "the map of stride 8 has 4 channels; `channels` promises 5"),
        (ForgetsAMap, "maps of strides [8]; `channels` promises [8, 16]"),
        (Descends, "the strides of `channels` must ascend; they are [16, 8]"),
        (WrongScale, "the map of stride 16 is (4, 3) for images of (64, 96)"),
        (GivesNaN, "the map of stride 8 is not finite"),
        (Idle, "training: parameter 'spare' is to be trained, and gets no gradient"),
        (Noisy, "the same input again: the result differs"),
        (Hidden, "weights saved and loaded: the result differs"),
        (Unseeded, "two of the same seed: their weights differ"),
        (Scribbles, "the images handed in must not be changed"),
        (Gossips, "an image alone and in a batch: the map of stride 8 differs"),
        (NoBackbone, "made from its spec: NoBackbone is no subclass of Backbone"),
        (NeedsPairs, "a batch of one: RuntimeError: expected more than one image"),
        (ExtraState, "_extra_state is no tensor"),
        (PromisesNothing, "`channels` must give a width for each stride, both whole numbers; it is [4, 8]"),
        (Locked, "a deep copy: TypeError: cannot pickle"),
        (SinglePrecision, "autocast to bfloat16: the map of stride 8 is not finite"),
    ],
)
def test_backbone(target: type, message: str) -> None:
    assert message in caught("backbone", target, stubs.BlocksSpec, check_backbone)


class Narrow(Even):
    def forward(self, features):
        return {stride: map_[:, 1:] for stride, map_ in super().forward(features).items()}


class CutsTheGraph(Even):
    def forward(self, features):
        return super().forward({stride: map_.detach() for stride, map_ in features.items()})


class InPlace(Even):
    def forward(self, features):
        return super().forward({stride: map_.relu_() if not map_.requires_grad else map_ for stride, map_ in features.items()})


class FixedSize(Even):
    def forward(self, features):
        return {stride: map_[..., : 160 // stride] for stride, map_ in super().forward(features).items()} | {
            stride: nn.functional.interpolate(map_, (96 // stride, 160 // stride))
            for stride, map_ in super().forward(features).items()
        }


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Narrow, "the map of stride 8 has 7 channels; `channels` promises 8"),
        (CutsTheGraph, "no gradient goes through to the backbone"),
        (InPlace, "the maps handed in must not be changed"),
        (FixedSize, "an odd number of cells: the map of stride 8 is (12, 20) for images of (128, 128)"),
    ],
)
def test_neck(target: type, message: str) -> None:
    assert message in caught("neck", target, stubs.EvenSpec, check_neck, CHANNELS)


class DividesByNone(PlainHead):
    def losses(self, raw, batch):
        found = super().losses(raw, batch)
        count = sum(len(targets) for targets in batch.targets)
        return {name: value * count / torch.tensor(float(count)) for name, value in found.items()}


class OneTooMany(PlainHead):
    def decode(self, raw, batch):
        return [type(found)(found.boxes, found.scores, found.labels + 1) for found in super().decode(raw, batch)]


class WorstFirst(PlainHead):
    def decode(self, raw, batch):
        return [found[torch.arange(len(found) - 1, -1, -1)] for found in super().decode(raw, batch)]


class Logits(PlainHead):
    def decode(self, raw, batch):
        return [type(found)(found.boxes, found.scores.logit(), found.labels) for found in super().decode(raw, batch)]


class WidthHeight(PlainHead):
    def decode(self, raw, batch):
        return [
            type(found)(torch.cat([found.boxes[:, 2:], found.boxes[:, :2]], dim=1), found.scores, found.labels)
            for found in super().decode(raw, batch)
        ]


class KeepsTheGraph(PlainHead):
    def decode(self, raw, batch):
        shift = raw[8].sum() * 0 if torch.is_grad_enabled() else 0
        return [type(found)(found.boxes + shift, found.scores, found.labels) for found in super().decode(raw, batch)]


class LosesAnImage(PlainHead):
    def decode(self, raw, batch):
        return super().decode(raw, batch)[:1]


class LowPrecision(PlainHead):
    def decode(self, raw, batch):
        kind = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        return [type(found)(found.boxes.to(kind), found.scores, found.labels) for found in super().decode(raw, batch)]


class LossPerClass(PlainHead):
    def losses(self, raw, batch):
        return {name: value.expand(2) for name, value in super().losses(raw, batch).items()}


class NoLoss(PlainHead):
    def losses(self, raw, batch):
        return {}


class Detached(PlainHead):
    def losses(self, raw, batch):
        return {name: value.detach() for name, value in super().losses(raw, batch).items()}


class OneBranch(PlainHead):
    def losses(self, raw, batch):
        return {"classes": super().losses({8: raw[8]}, batch)["classes"]}


class Dice(PlainHead):
    def losses(self, raw, batch):
        return {name: value * random.random() for name, value in super().losses(raw, batch).items()}


class NeedsBoxes(PlainHead):
    def losses(self, raw, batch):
        for targets in batch.targets:
            targets.boxes.max()
        return super().losses(raw, batch)


class MovesTargets(PlainHead):
    def losses(self, raw, batch):
        for targets in batch.targets:
            targets.boxes.add_(1)
        return super().losses(raw, batch)


class OneClass(PlainHead):
    def __init__(self, spec, channels, num_classes):
        super().__init__(spec, channels, 1)

    def class_rows(self):
        return {}


class ForgetsAClass(PlainHead):
    def class_rows(self):
        return {name: rows.clamp(max=self.num_classes - 2) for name, rows in super().class_rows().items()}


class NamesNoParameter(PlainHead):
    def class_rows(self):
        return {f"other.{name}": rows for name, rows in super().class_rows().items()}


class TooFewRows(PlainHead):
    def class_rows(self):
        return {name: rows[1:] for name, rows in super().class_rows().items()}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (DividesByNone, "no boxes: loss 'classes' is nan; losses must be finite"),
        (OneTooMany, "labels must lie in 0 … 0, got [1]"),
        (WorstFirst, "detections must come best first"),
        (Logits, "scores must lie in 0 … 1"),
        (WidthHeight, "boxes must be x1, y1, x2, y2"),
        (KeepsTheGraph, "detections must carry no gradient"),
        (LosesAnImage, "detections of 1 images for a batch of 2"),
        (LowPrecision, "autocast to bfloat16: boxes must be float32, not torch.bfloat16"),
        (LossPerClass, "loss 'classes' must be a tensor of one float"),
        (NoLoss, "losses are a dict of scalars by name, not {}"),
        (Detached, "the sum of the losses has no gradient"),
        (OneBranch, "parameter 'layers.16.weight' is to be trained, and gets no gradient"),
        (Dice, "the losses differ for the same seed"),
        (NeedsBoxes, "no boxes: RuntimeError: max()"),
        (MovesTargets, "the batch handed in must not be changed"),
        (OneClass, "3 classes, ordinary boxes: IndexError"),
        (ForgetsAClass, "`class_rows` of 'layers.8.weight': each class needs as many rows as any other"),
        (NamesNoParameter, "`class_rows` names 'other.layers.8.weight', which is no parameter"),
        (TooFewRows, "`class_rows` of 'layers.8.weight' must be int64 of shape (5,)"),
    ],
)
def test_dense_head(target: type, message: str) -> None:
    assert message in caught("dense_head", target, stubs.PlainHeadSpec, check_dense_head, CHANNELS)


class NeedsProposals(PoolHead):
    def detect(self, features, proposals, batch):
        for found in proposals:
            found.boxes.max()
        return super().detect(features, proposals, batch)


class MeanLoss(PoolHead):
    def losses(self, features, proposals, batch):
        found = super().losses(features, proposals, batch)
        count = sum(len(one) for one in proposals)
        return {name: value * count / torch.tensor(float(count)) for name, value in found.items()}


class MovesProposals(PoolHead):
    def losses(self, features, proposals, batch):
        for found in proposals:
            found.boxes.mul_(1.01)
        return super().losses(features, proposals, batch)


class SilentBranch(PoolHead):
    def __init__(self, spec, channels, num_classes):
        super().__init__(spec, channels, num_classes)
        self.spare = nn.Linear(2, 2)


class CountsBackground(PoolHead):
    def detect(self, features, proposals, batch):
        found = super().detect(features, proposals, batch)
        return [type(one)(one.boxes, one.scores, torch.full_like(one.labels, self.num_classes)) for one in found]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (NeedsProposals, "detection from 0 proposals: RuntimeError: max()"),
        (MeanLoss, "ordinary boxes, 0 proposals: loss 'classes' is nan"),
        (MovesProposals, "the proposals handed in must not be changed"),
        (SilentBranch, "parameter 'spare.weight' is to be trained, and gets no gradient"),
        (CountsBackground, "labels must lie in 0 … 0, got [1]"),
    ],
)
def test_roi_head(target: type, message: str) -> None:
    assert message in caught("roi_head", target, stubs.PoolHeadSpec, check_roi_head, CHANNELS)
