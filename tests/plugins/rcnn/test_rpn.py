from __future__ import annotations

import math

import pytest
import torch

from tests.plugins.rcnn.draw import batch, features, targets
from zoo_core.errors import InputError
from zoo_core.types import Targets
from zoo_rcnn.rpn import RPN, RPNOutput
from zoo_rcnn.specs import RandomSamplerSpec, RPNSpec

STRIDES = (4, 8, 16, 32, 64)
WIDTH = 6


def rpn_of(spec: RPNSpec | None = None, seed: int = 0) -> RPN:
    torch.manual_seed(seed)
    rpn = RPN(spec or RPNSpec(), dict.fromkeys(STRIDES, WIDTH))
    for layer in (rpn.conv, rpn.objectness, rpn.deltas):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return rpn


def test_forward_has_one_row_per_anchor() -> None:
    rpn = rpn_of()
    raw = rpn(features(STRIDES, (128, 192), width=WIDTH, count=2))
    for stride in STRIDES:
        count = 3 * math.ceil(128 / stride) * math.ceil(192 / stride)
        assert raw.logits[stride].shape == (2, count)
        assert raw.deltas[stride].shape == (2, count, 4)
        assert raw.anchors[stride].shape == (count, 4)


def test_scores_deltas_and_anchors_are_of_the_same_place() -> None:
    """One pixel of one map is bright: the anchors about it, and no others, answer."""
    rpn = rpn_of()
    torch.nn.init.zeros_(rpn.conv.weight)
    rpn.conv.weight.data[:, :, 1, 1] = 1
    for layer in (rpn.objectness, rpn.deltas):
        torch.nn.init.zeros_(layer.weight)
        for row in range(len(layer.weight)):
            layer.weight.data[row, 0] = 1 + row
    maps = {stride: torch.zeros_like(m) for stride, m in features(STRIDES, (64, 96), width=WIDTH).items()}
    maps[8][0, :, 5, 3] = 1 / WIDTH  # y 40, x 24
    raw = rpn(maps)
    rows = raw.logits[8][0].nonzero().squeeze(1)
    anchors = raw.anchors[8][rows]
    assert ((anchors[:, :2] + anchors[:, 2:]) / 2).round().tolist() == [[24, 40]] * 3
    torch.testing.assert_close(raw.logits[8][0, rows], torch.tensor([1.0, 2, 3]))
    torch.testing.assert_close(raw.deltas[8][0, rows].flatten(), torch.arange(1.0, 13))
    sides = anchors[:, 2:] - anchors[:, :2]
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1, 2]))
    assert not any(raw.logits[s].any() for s in STRIDES if s != 8)


@pytest.mark.parametrize("seed", range(3))
def test_proposals(seed: int) -> None:
    rpn = rpn_of(RPNSpec(proposals=50, candidates=40), seed)
    sizes = [(120, 190), (60, 100)]
    found = rpn.decode(rpn(features(STRIDES, (128, 192), width=WIDTH, count=2, seed=seed)), batch(sizes, (128, 192)))
    for proposals, (height, width) in zip(found, sizes, strict=True):
        assert 0 < len(proposals) <= 50
        assert proposals.scores.diff().le(0).all()
        assert proposals.boxes.min() >= 0
        assert proposals.boxes[:, 2].max() <= width
        assert proposals.boxes[:, 3].max() <= height
        assert (proposals.boxes[:, 2:] > proposals.boxes[:, :2]).all()
        assert not proposals.labels.any()
        assert not proposals.boxes.requires_grad


def test_more_candidates_in_training() -> None:
    rpn = rpn_of(RPNSpec(candidates=3, candidates_train=30, nms_iou=1.0))
    raw = rpn(features(STRIDES, (128, 192), width=WIDTH))
    (test,) = rpn.decode(raw, batch([(128, 192)], (128, 192)))
    (train,) = rpn.decode(raw, batch([(128, 192)], (128, 192), [Targets()]))
    assert len(test) <= 3 * len(STRIDES) < len(train)


def test_a_level_does_not_suppress_another() -> None:
    spec = RPNSpec(ratios=(1.0,), nms_iou=0.5)
    rpn = RPN(spec, {8: WIDTH, 16: WIDTH})
    box = torch.tensor([[0.0, 0, 50, 50], [1, 0, 50, 50]])
    raw = RPNOutput(
        {8: torch.tensor([[2.0, 1.0]]), 16: torch.tensor([[0.5, 3.0]])},
        {8: torch.zeros(1, 2, 4), 16: torch.zeros(1, 2, 4)},
        {8: box, 16: box},
        {8: (1, 2), 16: (1, 2)},
    )
    (found,) = rpn.decode(raw, batch([(64, 64)], (64, 64)))
    torch.testing.assert_close(found.scores, torch.tensor([3.0, 2.0]).sigmoid())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (3, 40)])
def test_losses_are_finite_and_reach_every_parameter(counts: tuple[int, int], seed: int) -> None:
    rpn = rpn_of(seed=seed)
    given = [targets(count, seed + k) for k, count in enumerate(counts)]
    losses = rpn.losses(
        rpn(features(STRIDES, (128, 128), width=WIDTH, count=2, seed=seed)), batch([(128, 128)] * 2, (128, 128), given)
    )
    assert set(losses) == {"objectness", "boxes"}
    if sum(counts) != 1:  # a single one may be too small for all anchors
        assert (losses["boxes"] > 0) == any(counts)
    sum(losses.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in rpn.parameters())


def test_an_image_without_objects_teaches_what_is_none() -> None:
    rpn = rpn_of(RPNSpec(sampler=RandomSamplerSpec(count=100_000)))
    raw = rpn(features(STRIDES, (64, 64), width=WIDTH))
    losses = rpn.losses(raw, batch([(64, 64)], (64, 64), [Targets()]))
    logits = torch.cat(list(raw.logits.values()), dim=1)
    wanted = torch.nn.functional.softplus(logits).sum() / (logits.numel() + 1)  # no positive counts as one
    torch.testing.assert_close(losses["objectness"], wanted)
    assert losses["boxes"] == 0


def test_anchors_of_the_padding_are_not_trained_on() -> None:
    rpn = rpn_of(RPNSpec(sampler=RandomSamplerSpec(count=100_000)))
    raw = rpn(features(STRIDES, (128, 192), width=WIDTH))
    anchors = torch.cat(list(raw.anchors.values()))
    found = rpn.sample(raw, anchors, Targets(), batch([(50, 90)], (128, 192)), 0)  # padded to 64 x 96
    chosen = anchors[found.background()]
    centres = (chosen[:, :2] + chosen[:, 2:]) / 2
    assert centres[:, 0].max() < 96
    assert centres[:, 1].max() < 64
    assert len(chosen) == sum(3 * math.ceil(64 / s) * math.ceil(96 / s) for s in STRIDES)


def test_a_border_leaves_out_anchors_beyond_it() -> None:
    found = {}
    for border in (None, 0, 30):
        rpn = rpn_of(RPNSpec(sampler=RandomSamplerSpec(count=100_000), border=border))
        raw = rpn(features(STRIDES, (128, 192), width=WIDTH))
        anchors = torch.cat(list(raw.anchors.values()))
        found[border] = anchors[rpn.sample(raw, anchors, Targets(), batch([(128, 192)], (128, 192)), 0).background()]
    assert found[0].min() >= 0
    assert found[0][:, 2].max() < 192
    assert found[30].min() >= -30
    assert len(found[0]) < len(found[30]) < len(found[None])


def test_one_pixel() -> None:
    rpn = rpn_of()
    raw = rpn(features(STRIDES, (32, 32), width=WIDTH))
    (found,) = rpn.decode(raw, batch([(1, 1)], (32, 32)))
    assert found.boxes.numel() == 0 or found.boxes.max() <= 1
    losses = rpn.losses(raw, batch([(1, 1)], (32, 32), [Targets(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([0]))]))
    assert all(value.isfinite() for value in losses.values())


def test_what_it_cannot_be_built_for() -> None:
    with pytest.raises(InputError, match="knows one class, not 3"):
        RPN(RPNSpec(), {8: WIDTH}, 3)
    with pytest.raises(InputError, match=r"need the same width; they have \{8: 6, 16: 7\}"):
        RPN(RPNSpec(), {8: 6, 16: 7})


def test_another_width_and_other_anchors() -> None:
    rpn = RPN(RPNSpec(width=9, scales=(4.0, 8.0), ratios=(1.0,)), {8: WIDTH, 16: WIDTH})
    assert rpn.conv.weight.shape == (9, WIDTH, 3, 3)
    assert rpn.objectness.weight.shape == (2, 9, 1, 1)
    assert rpn.deltas.weight.shape == (8, 9, 1, 1)


def test_anchors_in_whole_pixels() -> None:
    maps = features(STRIDES, (64, 64), width=WIDTH)
    plain, rounded = (rpn_of(RPNSpec(rounded=on))(maps).anchors[4] for on in (False, True))
    assert torch.equal(rounded[:3], plain[:3].round())
    assert not torch.equal(rounded[:3], plain[:3])


def test_cells_as_far_apart_as_they_go_into_the_image() -> None:
    rpn, size = rpn_of(RPNSpec(fitted_steps=True)), (800, 1056)
    maps = {s: torch.zeros(1, WIDTH, math.ceil(size[0] / s), math.ceil(size[1] / s)) for s in STRIDES}
    anchors = rpn(maps).anchors
    centres = (anchors[64][:, :2] + anchors[64][:, 2:]) / 2  # 13 rows of 17 cells
    assert centres[3 * 18].round().tolist() == [62, 61]  # 1056 // 17, 800 // 13
    assert torch.equal(anchors[32], rpn_of()(maps).anchors[32])


def test_proposals_that_are_too_small() -> None:
    raw, image = rpn_of(seed=1)(features(STRIDES, (64, 96), width=WIDTH)), batch([(64, 96)], (64, 96))
    (every,), (large,) = (rpn_of(RPNSpec(least_side=side, nms_iou=1.0), 1).decode(raw, image) for side in (0.0, 20.0))
    sides = every.boxes[:, 2:] - every.boxes[:, :2]
    assert torch.equal(large.boxes, every.boxes[(sides > 20).all(dim=1)])
    assert 0 < len(large) < len(every)


def test_a_proposal_may_shrink_without_bound() -> None:
    box, deltas = torch.tensor([[0.0, 0, 50, 50]]), torch.tensor([[[0.0, 0, -6, -6]]])
    raw = RPNOutput({8: torch.ones(1, 1)}, {8: deltas}, {8: box}, {8: (1, 1)})
    for bound, side in ((True, 50 / 62.5), (False, 50 * math.exp(-6))):
        rpn = RPN(RPNSpec(ratios=(1.0,), shrink_bound=bound), {8: WIDTH})
        (found,) = rpn.decode(raw, batch([(64, 64)], (64, 64)))
        assert (found.boxes[0, 2] - found.boxes[0, 0]).item() == pytest.approx(side, rel=1e-3)


def test_of_scores_that_are_equal_in_32_bits_the_greater_logits_are_the_best() -> None:
    boxes = torch.tensor([[0.0, 0, 50, 50], [60, 0, 90, 50]])
    logits = {8: torch.tensor([[30.0]]), 16: torch.tensor([[40.0]])}
    shapes = {8: (1, 1), 16: (1, 1)}
    raw = RPNOutput(logits, {s: torch.zeros(1, 1, 4) for s in shapes}, {8: boxes[:1], 16: boxes[1:]}, shapes)
    rpn = RPN(RPNSpec(ratios=(1.0,), rank_by="logit", proposals=1), {8: WIDTH, 16: WIDTH})
    (found,) = rpn.decode(raw, batch([(64, 96)], (64, 96)))
    assert found.boxes.tolist() == [[60, 0, 90, 50]]
    assert found.scores.tolist() == [1]
