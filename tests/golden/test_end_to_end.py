"""Whole detectors with the weights of the record, from the network's input to detections and three steps of training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.golden.names import ours
from tests.golden.record import Record, batch_of, close, equal
from tests.golden.weights import fill, image
from zoo_core.build import build
from zoo_core.contributions import Component
from zoo_core.detectors.two_stage import TwoStage
from zoo_core.recipes import resolve
from zoo_core.registry import contributed
from zoo_core.types import Assignment, Detections, Features, ImageBatch, Losses, Targets
from zoo_rcnn.box_head import BoxHead
from zoo_rcnn.rpn import RPN, RPNOutput

pytestmark = pytest.mark.shared
TINY = Component("backbone", "tiny_resnet50", "tests.golden.tiny_resnet:TinyResNetSpec", "tests.golden.tiny_resnet:TinyResNet")
SMALL = {"num_classes": 3, "neck": {"width": 64}, "roi_head": {"width": 128}}
DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "e2e_tiny": ("faster_rcnn_r50_fpn", SMALL | {"backbone": "tiny_resnet50"}),
    "e2e_r18": ("faster_rcnn_r18_fpn", SMALL),
    "e2e_r101": ("faster_rcnn_r101_fpn", {}),
}
TRAINED = ("e2e_tiny", "e2e_r18")
ALL = {"sampler": {"count": 1_000_000, "positive_share": 1.0}}
EVERYTHING = {"proposer": ALL, "roi_head": ALL}


@dataclass(frozen=True)
class Case:
    """What is recorded of a detector."""

    name: str
    folder: Path
    record: Record
    notes: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path, name: str) -> Case:
        return cls(name, folder, Record.read(folder / f"{name}.safetensors"), json.loads((folder / f"{name}.json").read_text()))

    def detector(self, **overrides: Any) -> TwoStage:
        recipe, options = DETECTORS[self.name]
        with contributed(TINY):
            model = build(resolve(resolve(recipe, options), overrides))
        assert isinstance(model, TwoStage)
        if self.name == "e2e_tiny":
            weights = load_file(self.folder / "e2e_tiny_weights.safetensors")
            model.load_state_dict({ours(key): value for key, value in weights.items()})
        else:
            fill(model, self.names(model), self.notes["seed"], self.notes["overrides"])
        return model.eval()

    def names(self, model: TwoStage) -> list[str]:
        """Return MMDetection's names for the entries of the detector; those of a ResNet-18 are among a ResNet-50's."""
        depth = "r101" if self.name == "e2e_r101" else "r50"
        keys = json.loads((self.folder / f"faster_rcnn_{depth}_fpn_state_dict_keys.json").read_text())["keys"]
        own = model.state_dict().keys()
        return [key for key, *_ in keys if ours(key) in own]

    def batch(self) -> ImageBatch:
        metas = self.notes["img_metas"]
        shape = (len(metas), 3, *metas[0]["batch_input_shape"])
        recorded = "img" in self.record
        tensor = self.record["img"] if recorded else image(shape, self.notes["seed"], [m["img_shape"] for m in metas])
        targets = map(Targets, self.record.levels("gt_bboxes"), self.record.levels("gt_labels"))
        return batch_of(metas, tensor, list(targets))

    def images(self, name: str) -> list[Record]:
        """Return what is recorded under ``name.0``, ``name.1``, …, one for each image."""
        return [self.record.under(f"{name}.{k}") for k in range(len(self.notes["img_metas"]))]


@dataclass(frozen=True)
class Run:
    """What a detector computes at inference."""

    case: Case
    model: TwoStage
    batch: ImageBatch
    features: Features
    raw: RPNOutput
    proposals: list[Detections]
    detections: list[Detections]

    @classmethod
    def of(cls, case: Case, model: TwoStage) -> Run:
        batch = replace(case.batch(), targets=None)
        with torch.no_grad():
            features = model.features(batch)
            raw = model.proposer(features)
            proposals = model.proposer.decode(raw, batch)
            detections = model.roi_head.detect(features, proposals, batch)
        return cls(case, model, batch, features, raw, proposals, detections)


@pytest.fixture(scope="module", params=["e2e_tiny", "e2e_r18", pytest.param("e2e_r101", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest, folder: Path) -> Run:
    case = Case.read(folder, request.param)
    return Run.of(case, case.detector())


def within(found: Tensor, wanted: Tensor, share: float = 1e-5) -> None:
    """Assert that two maps agree within a share of the greatest value."""
    close(found, wanted, rtol=1e-4, atol=share * float(wanted.abs().max()))


def sums(maps: Tensor) -> list[float]:
    maps = maps.double()
    return [float(v) for v in (maps.sum(), maps.abs().sum(), maps.std(), maps.min(), maps.max())]


def close_sums(found: Tensor, wanted: Sequence[float]) -> None:
    total, *rest = sums(found)
    assert total == pytest.approx(wanted[0], rel=1e-4, abs=1e-6 * wanted[1])
    assert rest == pytest.approx(wanted[1:], rel=1e-4)


def test_the_image_is_the_recorded_one(run: Run) -> None:
    if "img_slice" in run.case.record:
        equal(run.batch.tensor[:, :, ::8, ::8], run.case.record["img_slice"])


def test_features(run: Run) -> None:
    for level, found in enumerate(run.features.values()):
        within(found[:, ::8, ::4, ::4], run.case.record[f"feat_slice.{level}"])
        close_sums(found, run.case.notes["feats"][level])
        if f"feats.{level}" in run.case.record:
            within(found, run.case.record[f"feats.{level}"])


def test_region_proposal_network(run: Run) -> None:
    for level, (stride, (height, width)) in enumerate(run.raw.shapes.items()):
        for name, maps in (("rpn_cls", run.raw.logits[stride]), ("rpn_reg", run.raw.deltas[stride])):
            found = maps.view(len(maps), height, width, -1).permute(0, 3, 1, 2)
            close_sums(found, run.case.notes[name][level])
            if f"{name}.{level}" in run.case.record:
                within(found, run.case.record[f"{name}.{level}"])
            else:
                within(found[:, :, ::4, ::4], run.case.record[f"{name}_slice.{level}"])


def test_proposals(run: Run) -> None:
    """Rounding alone decides between neighbours whose scores differ by some 1e-7; all else is as recorded."""
    for found, wanted in zip(run.proposals, run.case.images("proposals"), strict=True):
        order = torch.cdist(points(found.boxes, found.scores), points(wanted["bboxes"], wanted["scores"])).argmin(dim=1)
        moved = (order != torch.arange(len(order))).nonzero().squeeze(1)
        assert len(moved) < 10
        close(wanted["scores"][moved], wanted["scores"][order[moved]], rtol=0, atol=1e-6)
        equal(order.sort().values, torch.arange(len(wanted["scores"])))
        close(found.boxes, wanted["bboxes"][order], atol=5e-3)
        close(found.scores, wanted["scores"][order], rtol=1e-4)


def points(boxes: Tensor, scores: Tensor) -> Tensor:
    """Return boxes and their scores as points (N, 5) whose distance says which is which."""
    return torch.cat([boxes, 1000 * scores[:, None]], dim=1).double()


def test_proposals_in_the_recorded_memory_format(run: Run) -> None:
    """With the columns of an image innermost, as MMDetection has them, nothing is left to rounding."""
    model = deepcopy(run.model).to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        proposals = model.proposer.decode(model.proposer(model.features(run.batch)), run.batch)
    for found, wanted in zip(proposals, run.case.images("proposals"), strict=True):
        close(found.boxes, wanted["bboxes"], atol=5e-3)
        close(found.scores, wanted["scores"], rtol=1e-4)


def test_second_stage(run: Run) -> None:
    wanted = run.case.record.under("roi_stage")
    head = run.model.roi_head
    assert isinstance(head, BoxHead)
    pooled: list[Tensor] = []
    handle = head.shared[0].register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0].detach()))
    with torch.no_grad():
        logits, deltas = head(run.features, wanted["rois"])
    handle.remove()
    within(logits, wanted["cls_score"])
    within(deltas.flatten(1), wanted["bbox_pred"])
    within(pooled[0].view(len(logits), -1, 49).sum(dim=2), wanted["bbox_feats_sum"])


def test_detections(run: Run) -> None:
    assert_detections(run.detections, run.case.images("dets"))


def test_detections_in_the_pixels_of_the_original(run: Run) -> None:
    assert_detections(run.model.preprocess.restore(run.detections, run.batch), run.case.images("dets_rescaled"))


def assert_detections(detections: Sequence[Detections], records: Sequence[Record]) -> None:
    for found, wanted in zip(detections, records, strict=True):
        close(found.boxes, wanted["bboxes"], atol=5e-3)
        close(found.scores, wanted["scores"], rtol=1e-4)
        equal(found.labels, wanted["labels"])


# Training


@pytest.fixture(params=TRAINED)
def lesson(request: pytest.FixtureRequest, folder: Path) -> Case:
    return Case.read(folder, request.param)


def assert_losses(found: Losses, wanted: Mapping[str, Any]) -> None:
    total = float(sum(value.detach() for value in found.values()))
    assert {name: float(value.detach()) for name, value in found.items()} == pytest.approx(
        {
            "proposer.objectness": sum(wanted["loss_rpn_cls"]),
            "proposer.boxes": sum(wanted["loss_rpn_bbox"]),
            "roi_head.classes": wanted["loss_cls"],
            "roi_head.boxes": wanted["loss_bbox"],
        },
        rel=1e-5,
    )
    assert total == pytest.approx(wanted["total"], rel=1e-5)


def assert_gradients(model: TwoStage, norms: Mapping[str, float], none: Sequence[str]) -> None:
    found = {name: p.grad.double().norm().item() for name, p in model.named_parameters() if p.grad is not None}
    assert found == pytest.approx({ours(key): norm for key, norm in norms.items()}, rel=5e-5, abs=1e-7)
    assert {name for name, p in model.named_parameters() if p.grad is None} == {ours(key) for key in none}


def test_three_steps_on_everything(lesson: Case) -> None:
    model, batch = lesson.detector(**EVERYTHING).train(), lesson.batch()
    options = dict(lesson.notes["train_optimizer"])
    assert options.pop("type") == "SGD"
    optimizer = torch.optim.SGD(model.parameters(), **options)
    for step, wanted in enumerate(lesson.notes["train_all.losses"]):
        losses = model(batch)
        assert_losses(losses, wanted)
        optimizer.zero_grad()
        sum(losses.values(), torch.zeros(())).backward()
        if step == 0:
            assert_gradients(model, lesson.notes["train_all.grad_norms"], lesson.notes["train_all.no_grad"])
        optimizer.step()


def test_what_is_sampled_when_everything_is(lesson: Case) -> None:
    model, batch = lesson.detector(**EVERYTHING), lesson.batch()
    rpn, head = model.proposer, model.roi_head
    assert isinstance(rpn, RPN)
    assert isinstance(head, BoxHead)
    with torch.no_grad():
        raw = rpn(model.features(batch))
    anchors = torch.cat(list(raw.anchors.values()))
    for number, (proposals, targets) in enumerate(zip(rpn.decode(raw, batch), batch.targets or (), strict=True)):
        wanted = lesson.record.under(f"train_all.{number}")
        found = rpn.sample(raw, anchors, targets, batch, number)
        equal(found.priors, wanted["rpn_pos_inds"])
        equal(found.targets, wanted["rpn_pos_gt_inds"])
        assert len(found.background()) == lesson.notes[f"train_all.{number}.rpn_num_neg"]
        boxes, found = head.sample(proposals, targets)
        close(boxes[found.priors], wanted["rcnn_pos_priors"], atol=5e-3)
        close(boxes[found.background()], wanted["rcnn_neg_priors"], atol=5e-3)
        equal(found.targets, wanted["rcnn_pos_gt_inds"])
        equal(found.priors < len(targets), wanted["rcnn_pos_is_gt"].bool())


def test_one_step_on_the_recorded_samples(lesson: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = lesson.detector().train(), lesson.batch()
    samples = lesson.images("train_sampled")
    turn = iter(samples)

    def sample_anchors(raw: RPNOutput, anchors: Tensor, targets: Targets, batch: ImageBatch, image: int) -> Assignment:
        chosen = samples[image]
        ignored = torch.ones(len(anchors), dtype=torch.bool)
        ignored[torch.cat([chosen["rpn_pos_inds"], chosen["rpn_neg_inds"]])] = False
        return Assignment(chosen["rpn_pos_inds"], chosen["rpn_pos_gt_inds"], ignored)

    def sample_regions(proposals: Detections, targets: Targets) -> tuple[Tensor, Assignment]:
        chosen = next(turn)
        boxes = torch.cat([chosen["rcnn_pos_priors"], chosen["rcnn_neg_priors"]])
        positive = torch.arange(len(chosen["rcnn_pos_priors"]))
        return boxes, Assignment(positive, chosen["rcnn_pos_gt_inds"], torch.zeros(len(boxes), dtype=torch.bool))

    monkeypatch.setattr(model.proposer, "sample", sample_anchors)
    monkeypatch.setattr(model.roi_head, "sample", sample_regions)
    losses = model(batch)
    assert_losses(losses, lesson.notes["train_sampled.losses"][0])
    sum(losses.values(), torch.zeros(())).backward()
    assert_gradients(model, lesson.notes["train_sampled.grad_norms"], lesson.notes["train_sampled.no_grad"])
