"""The suite has teeth: rules, preprocessing, specs and assemblies that break one promise each are caught."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ConfigDict, field_serializer

from tests.contracts.test_teeth_modules import caught
from tests.core import stubs
from tests.core.stubs import First, Overlap, component, plain_one_stage
from zoo_core.detectors.one_stage import OneStage
from zoo_core.detectors.preprocess import KeepRatio
from zoo_core.detectors.specs import KeepRatioSpec, OneStageSpec
from zoo_core.registry import contributed
from zoo_core.specs import ComponentSpec
from zoo_core.testing import ContractError, check_assigner, check_detector, check_neck, check_preprocess, check_sampler
from zoo_core.types import Assignment, Detections, Targets

pytestmark = pytest.mark.usefixtures("stubs")


class Both(Overlap):
    def __call__(self, priors, targets, predictions=None, strides=None):
        found = super().__call__(priors, targets)
        return Assignment(found.priors, found.targets, torch.ones_like(found.ignored))


class OffByOne(Overlap):
    def __call__(self, priors, targets, predictions=None, strides=None):
        found = super().__call__(priors, targets)
        return Assignment(found.priors, found.targets + 1, found.ignored)


class BeyondPriors(Overlap):
    def __call__(self, priors, targets, predictions=None, strides=None):
        found = super().__call__(priors, targets)
        return Assignment(found.priors - 5, found.targets, found.ignored)


class Twice(Overlap):
    def __call__(self, priors, targets, predictions=None, strides=None):
        found = super().__call__(priors, targets)
        return Assignment(found.priors.repeat(2), found.targets.repeat(2), found.ignored)


class TooShort(Overlap):
    def __call__(self, priors, targets, predictions=None, strides=None):
        found = super().__call__(priors, targets)
        return Assignment(found.priors[:0], found.targets[:0], found.ignored[1:])


class Sorts(Overlap):
    def __call__(self, priors, targets, predictions=None, strides=None):
        priors.copy_(priors.sort(dim=0).values)
        return super().__call__(priors, targets)


class Gambles(Overlap):
    def __call__(self, priors, targets, predictions=None, strides=None):
        found = super().__call__(priors, targets)
        keep = torch.rand(len(found.priors)) < 0.5
        return Assignment(found.priors[keep], found.targets[keep], found.ignored)


class NeedsTargets(Overlap):
    def __call__(self, priors, targets, predictions=None, strides=None):
        targets.boxes.max()
        return super().__call__(priors, targets)


class Pair(Overlap):
    def __call__(self, priors, targets, predictions=None, strides=None):
        return priors, targets


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Both, "a prior is in a pair and ignored"),
        (OffByOne, "the targets of the pairs must lie in 0 … "),
        (BeyondPriors, "the priors of the pairs must lie in 0 … "),
        (Twice, "a pair of prior and target occurs twice"),
        (TooShort, "`ignored` has 299 places for 300 priors"),
        (Sorts, "the priors handed in must not be changed"),
        (Gambles, "the result differs when asked again"),
        (NeedsTargets, "no boxes, 300 priors: RuntimeError: max()"),
        (Pair, "the result is a tuple, not an Assignment"),
    ],
)
def test_assigner(target: type, message: str) -> None:
    said = caught("assigner", target, stubs.OverlapSpec, check_assigner, positive=0.1, negative=0.1)
    assert message in said


class Invents(First):
    def __call__(self, assignment, generator=None):
        free = assignment.background()[:1]
        target = torch.zeros_like(free)
        return Assignment(torch.cat([assignment.priors, free]), torch.cat([assignment.targets, target]), assignment.ignored)


class Revives(First):
    def __call__(self, assignment, generator=None):
        return Assignment(assignment.priors, assignment.targets, torch.zeros_like(assignment.ignored))


class Demotes(First):
    def __call__(self, assignment, generator=None):
        return Assignment(assignment.priors[:1], assignment.targets[:1], assignment.ignored)


class DeafToGenerators(First):
    def __call__(self, assignment, generator=None):
        ignored = assignment.ignored.clone()
        background = assignment.background()
        ignored[background[torch.randperm(len(background))[: self.count]]] = True
        return Assignment(assignment.priors, assignment.targets, ignored)


class Unrepeatable(First):
    calls = 0

    def __call__(self, assignment, generator=None):
        self.calls += 1
        ignored = assignment.ignored.clone()
        ignored[assignment.background()[self.calls :]] = True
        return Assignment(assignment.priors, assignment.targets, ignored)


class Marks(First):
    def __call__(self, assignment, generator=None):
        assignment.ignored[assignment.background()[self.count :]] = True
        return assignment


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Invents, "1 pairs are new"),
        (Revives, "a prior that was ignored is trained on"),
        (Demotes, "a prior that had a target, and was left out, is now background"),
        (DeafToGenerators, "the result differs for the same generator"),
        (Unrepeatable, "the result differs for the same seed"),
        (Marks, "the assignment handed in must not be changed"),
    ],
)
def test_sampler(target: type, message: str) -> None:
    assert message in caught("sampler", target, stubs.FirstSpec, check_sampler)


class OneFactor(KeepRatio):
    def restore(self, detections, batch):
        factors = [size[1] / old[1] for size, old in zip(batch.sizes, batch.original, strict=True)]
        return [Detections(f.boxes / k, f.scores, f.labels) for f, k in zip(detections, factors, strict=True)]


class NoWayBack(KeepRatio):
    def restore(self, detections, batch):
        return list(detections)


class StaysHome(KeepRatio):
    def __init__(self, spec):
        super().__init__(spec)
        self.rule = lambda x: x


class Darkens(KeepRatio):
    def __call__(self, images, targets=None, names=()):
        for image in images:
            image.div_(2, rounding_mode="floor")
        return super().__call__(images, targets, names)


class TakesFloats(KeepRatio):
    def __call__(self, images, targets=None, names=()):
        return super().__call__([image.to(torch.uint8) for image in images], targets, names)


class KeepsEmpties(KeepRatio):
    def __call__(self, images, targets=None, names=()):
        widened = targets and [Targets(t.boxes, t.labels, t.ignored, t.ignored_labels) for t in targets]
        batch = super().__call__(images, widened, names)
        empty = targets and tuple(t if len(t) > len(b) else b for t, b in zip(targets, batch.targets or (), strict=True))
        return type(batch)(batch.tensor, batch.sizes, batch.padded, batch.original, empty or batch.targets, batch.names)


class ForgetsTargets(KeepRatio):
    def __call__(self, images, targets=None, names=()):
        return super().__call__(images, targets or [Targets() for _ in images], names)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (OneFactor, "`restore` gives"),
        (NoWayBack, "`restore` gives"),
        (StaysHome, "sent to a worker: "),
        (Darkens, "the images handed in must not be changed"),
        (TakesFloats, "an image of floats must raise a ZooError, and is taken"),
        (KeepsEmpties, "boxes without area: boxes without area must be left out"),
        (ForgetsTargets, "a batch without targets must have None for them"),
    ],
)
def test_preprocess(target: type, message: str) -> None:
    said = caught("preprocess", target, KeepRatioSpec, check_preprocess, long_side=161, short_side=97)
    assert message in said


class OpenSpec(stubs.EvenSpec):
    model_config = ConfigDict(extra="allow")


class LossySpec(stubs.EvenSpec):
    @field_serializer("width")
    def _width(self, value: int) -> int:
        return value + 1


class UnwritableSpec(stubs.EvenSpec):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Any = object()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (OpenSpec, "an option that does not exist: OpenSpec takes it"),
        (LossySpec, "options through JSON: LossySpec differs"),
        (UnwritableSpec, "options through JSON: PydanticSerializationError"),
    ],
)
def test_spec(spec: type[ComponentSpec], message: str) -> None:
    assert message in caught("neck", stubs.Even, spec, check_neck, {8: 4})


class ByMode(OneStage):
    def forward(self, images, targets=None):
        batch = self._batch(images, targets)
        return self.losses(batch) if self.training else self.preprocess.restore(self.detect(batch), batch)


class NotRestored(OneStage):
    def forward(self, images, targets=None):
        batch = self._batch(images, targets)
        return self.detect(batch) if targets is None and batch.targets is None else self.losses(batch)


class ModeSwitch(OneStage):
    def detect(self, batch):
        self.eval()
        return super().detect(batch)


class DarkensRaw(OneStage):
    def forward(self, images, targets=None):
        raw = isinstance(images, list)
        return super().forward([image // 2 for image in images] if raw else images, targets)


class StaysInEvaluation(OneStage):
    def predict(self, images, *, score=0.0, batch_size=1):
        return self.eval().predict(images) if self.training else super().predict(images, score=score)


class PredictsAllTogether(OneStage):
    def predict(self, images, *, score=0.0, batch_size=1):
        return super().predict(list(images)[:1] * len(images), score=score)


class Spare(OneStage):
    def __init__(self, spec, class_names, **parts):
        super().__init__(spec, class_names, **parts)
        self.spare = torch.nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (ByMode, "training mode: "),
        (NotRestored, "lie far outside; they are to be in its pixels"),
        (ModeSwitch, "training mode: a call changes the mode"),
        (DarkensRaw, "a ready batch: the losses differ from those of the raw images"),
        (StaysInEvaluation, "predict: it leaves the detector in another mode"),
        (PredictsAllTogether, "predict: it differs from a call for each image"),
        (Spare, "ordinary boxes: parameter 'spare.weight' is to be trained, and gets no gradient"),
    ],
)
def test_detector(target: type, message: str) -> None:
    with contributed(component("assembly", "broken", OneStageSpec, target)), pytest.raises(ContractError) as error:
        check_detector(plain_one_stage().model_copy(update={"type": "broken"}))
    assert str(error.value).startswith("detector 'broken', ")
    assert message in str(error.value)
