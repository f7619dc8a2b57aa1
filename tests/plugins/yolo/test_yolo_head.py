from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.plugins.yolo import plain
from zoo_core.errors import InputError, SpecError
from zoo_core.interfaces import SHARED
from zoo_core.testing import check_dense_head
from zoo_core.types import Detections, ImageBatch, Losses, Size, Targets
from zoo_yolo.head.specs import YoloHeadSpec
from zoo_yolo.head.yolo_head import YoloHead, YoloOutput

CHANNELS = {8: 6, 16: 7, 32: 9}
LOSSES = ("boxes", "objectness", "classes")
BALANCE = (4.0, 1.0, 0.4)
V5: dict[str, Any] = {}
V4: dict[str, Any] = {
    "box": "exponential",
    "scale_xy": (1.2, 1.1, 1.05),
    "assigner": "anchor_iou",
    "objectness": "one",
    "background_iou": 0.4,
    "divisor": "images",
    "box_weight": 0.07,
    "class_weight": 1.0,
    "balance": (1.0, 1.0, 1.0),
}


def head_of(options: dict[str, Any], classes: int = 3) -> YoloHead:
    return YoloHead(YoloHeadSpec(**({"anchors": plain.ANCHORS} | options)), CHANNELS, classes)


def output(classes: int = 3, *, images: int = 2, seed: int = 0, frame: Size = plain.FRAME, spread: float = 1.0) -> YoloOutput:
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        stride: (images, len(own) * (5 + classes), frame[0] // stride, frame[1] // stride)
        for stride, own in zip(plain.STRIDES, plain.ANCHORS, strict=True)
    }
    maps = {stride: torch.randn(shape, generator=generator) * spread for stride, shape in shapes.items()}
    return YoloOutput({stride: map_.requires_grad_() for stride, map_ in maps.items()})


def batch(given: Sequence[Targets] | None = None, images: int = 2, **options: Any) -> ImageBatch:
    sizes = (plain.FRAME,) * images
    return ImageBatch(
        torch.zeros(images, 3, *plain.FRAME), sizes, sizes, sizes, None if given is None else tuple(given), **options
    )


def objectness_logits(map_: Tensor, image: int, classes: int = 3) -> Tensor:
    """Return the logits (H * W * A,) of a map, in the order of the priors."""
    return map_[image].unflatten(0, (-1, 5 + classes))[:, 4].permute(1, 2, 0).flatten()


def place_losses(
    spec: YoloHeadSpec, place: plain.Place, row: list[float], targets: Targets, own: list[int]
) -> dict[str, float]:
    """Return the sums of the losses over one place of an image."""
    box = plain.predicted(place, row, spec.box, spec.scales[place.level])
    found = dict.fromkeys(LOSSES, 0.0)
    goals = []
    for target in own:
        quality = plain.complete_iou(box, targets.boxes[target].tolist())
        goals.append(max(quality, 0.0) if spec.objectness == "iou" else 1.0)
        found["boxes"] += 1 - quality
        for label, logit in enumerate(row[5:]):
            goal = 1 - spec.label_smoothing / 2 if label == targets.labels[target] else spec.label_smoothing / 2
            found["classes"] += plain.cross_entropy(logit, goal)
    overlap = max((plain.iou(box, t) for t in targets.boxes.tolist()), default=0.0)
    share = max((plain.shared_area(box, r) / plain.area(box) for r in targets.ignored.tolist()), default=0.0)
    left_out = spec.background_iou is not None and overlap > spec.background_iou
    left_out |= spec.ignore is not None and share > spec.ignore
    if own or not left_out:
        found["objectness"] += plain.cross_entropy(row[4], max(goals, default=0.0))
    return found


def wanted_losses(spec: YoloHeadSpec, raw: YoloOutput, given: Sequence[Targets], classes: int) -> dict[str, float]:
    """Return the losses from the formulas, place by place."""
    places = plain.places()
    weights = {"boxes": spec.box_weight, "objectness": spec.objectness_weight, "classes": spec.class_weight}
    if spec.divisor == "mean":
        weights = {name: weight * len(given) for name, weight in weights.items()}  # three maps, as published
        weights["classes"] *= classes / 80
    sums, counts = (torch.zeros(3, len(LOSSES), dtype=torch.float64) for _ in range(2))
    for image, targets in enumerate(given):
        if spec.assigner.type == "shape_match":
            matched = plain.shape_match(places, targets.boxes, 4.0, 0.5)
        else:
            matched = plain.anchor_iou(places, targets.boxes, 0.213)
        for number, place in enumerate(places):
            row = plain.rows(raw.maps[place.stride], image, place, classes)
            own = [target for prior, target in matched if prior == number]
            found = place_losses(spec, place, row, targets, own)
            sums[place.level] += torch.tensor([found[name] for name in LOSSES], dtype=torch.float64)
            counts[place.level] += torch.tensor([len(own), 1, len(own) * classes])
    if spec.divisor == "mean":
        sums /= counts.clamp(min=1)
    sums[:, 1] *= torch.tensor(spec.balance)
    return {name: weights[name] * value for name, value in zip(LOSSES, sums.sum(dim=0).tolist(), strict=True)}


def detached(losses: Losses) -> dict[str, float]:
    return {name: value.item() for name, value in losses.items()}


def total(losses: Losses) -> Tensor:
    return torch.stack(list(losses.values())).sum()


CASES = {
    "v5": V5,
    "v5 smooth": {"label_smoothing": 0.1, "objectness_weight": 0.7},
    "v5 all background": {"ignore": None},
    "v4": V4,
    "v4 smooth": V4 | {"label_smoothing": 0.2, "background_iou": 0.2, "ignore": 0.2},
    "sums of v5": {"divisor": "images"},
    "means of v4": V4 | {"divisor": "mean", "balance": BALANCE},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_losses_against_a_slow_reference(case: str, seed: int) -> None:
    head, raw = head_of(CASES[case]), output(seed=seed)
    given = [plain.targets(12, seed, ignored=2), plain.targets(3, seed + 50)]
    found = detached(head.losses(raw, batch(given)))
    assert found == pytest.approx(wanted_losses(head.spec, raw, given, 3), rel=2e-5)


@pytest.mark.parametrize("options", [V5, V4], ids=["v5", "v4"])
def test_losses_without_targets(options: dict[str, Any]) -> None:
    head, raw = head_of(options), output()
    losses = head.losses(raw, batch([Targets(), Targets()]))
    assert losses["boxes"] == losses["classes"] == 0
    assert detached(losses) == pytest.approx(wanted_losses(head.spec, raw, [Targets(), Targets()], 3), rel=2e-5)
    total(losses).backward()  # type: ignore[no-untyped-call]
    assert all(map_.grad is not None and map_.grad.isfinite().all() for map_ in raw.maps.values())


@pytest.mark.parametrize("options", [V5, V4], ids=["v5", "v4"])
def test_one_pixel_and_one_class(options: dict[str, Any]) -> None:
    head, raw = head_of(options, 1), output(1)
    pixel = torch.tensor([[8.0, 8, 9, 9], [95.0, 63, 96, 64], [0.0, 0, 96, 1]])
    given = [Targets(pixel, torch.zeros(3, dtype=torch.int64)), Targets()]
    losses = head.losses(raw, batch(given))
    assert detached(losses) == pytest.approx(wanted_losses(head.spec, raw, given, 1), rel=2e-5)


@pytest.mark.parametrize("options", [V5, V4], ids=["v5", "v4"])
@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_logits_have_finite_losses_and_gradients(options: dict[str, Any], extreme: float) -> None:
    raw = YoloOutput({s: torch.full_like(m, extreme).requires_grad_() for s, m in output().maps.items()})
    losses = head_of(options).losses(raw, batch([plain.targets(30, 0, ignored=3), plain.targets(3, 1)]))
    assert total(losses).isfinite()
    total(losses).backward()  # type: ignore[no-untyped-call]
    assert all(map_.grad is not None and map_.grad.isfinite().all() for map_ in raw.maps.values())
    (found, _) = head_of(options).decode(raw, batch())
    assert found.boxes.isfinite().all()


def test_a_prior_of_several_targets_is_as_good_as_the_best_of_them() -> None:
    head, raw = head_of({"objectness_weight": 3.0, "box_weight": 0.0, "class_weight": 0.0}), output(images=1)
    boxes = torch.tensor([[34.0, 34, 46, 46], [30.0, 33, 50, 48], [35.0, 33, 45, 47]])
    values = []
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        given = Targets(boxes[order], torch.zeros(3, dtype=torch.int64))
        values.append(head.losses(raw, batch([given], 1))["objectness"].item())
    assert values[0] == values[1] == values[2]


def test_objectness_does_not_move_the_boxes() -> None:
    """Its goal is how good the box is; that makes no box better."""
    raw = output()
    total(head_of({"box_weight": 0.0}).losses(raw, batch([plain.targets(12, 0)] * 2))).backward()  # type: ignore[no-untyped-call]
    for map_ in raw.maps.values():
        assert map_.grad is not None
        rows = map_.grad.unflatten(1, (-1, 8))
        assert rows[:, :, 4:].any()
        assert not rows[:, :, :4].any()


def test_a_place_in_an_ignored_region_is_no_background() -> None:
    """Boxes of nearly nothing at the middles of the cells: those on the left half are ignored, of whatever label."""
    raw = output(images=1)
    with torch.no_grad():
        for map_ in raw.maps.values():
            map_.unflatten(1, (-1, 8))[:, :, :4] = torch.tensor([0.0, 0, -9, -9])[:, None, None]
    region = Targets(ignored=torch.tensor([[0.0, 0, 48, 64]]), ignored_labels=torch.tensor([2]))
    total(head_of({}).losses(raw, batch([region], 1))).backward()  # type: ignore[no-untyped-call]
    for stride, map_ in raw.maps.items():
        assert map_.grad is not None
        gradient = objectness_logits(map_.grad, 0).view(*map_.shape[2:], -1)
        middles = (torch.arange(map_.shape[3]) + 0.5) * stride
        assert ((gradient != 0).all(dim=2) == (middles > 48 - 1e-3)).all()


def test_losses_grow_with_the_images() -> None:
    """So that the learning rate is per image: a batch of the same image twice costs twice as much."""
    raw, targets = output(images=1), plain.targets(5, 3)
    twice = YoloOutput({stride: torch.cat([map_, map_]) for stride, map_ in raw.maps.items()})
    for options in (V5, V4):
        once = detached(head_of(options).losses(raw, batch([targets], 1)))
        both = detached(head_of(options).losses(twice, batch([targets, targets])))
        assert both == pytest.approx({name: 2 * value for name, value in once.items()}, rel=1e-5)


def test_weights_are_scaled_for_other_numbers_of_maps() -> None:
    spec = {"anchors": plain.ANCHORS[:1], "balance": (1.0,)}
    head = YoloHead(YoloHeadSpec(**spec), {8: 6}, 3)
    raw = YoloOutput({8: output(images=1).maps[8]})
    found = head.losses(raw, batch([Targets()], 1))["objectness"].item()
    wanted = torch.nn.functional.softplus(objectness_logits(raw.maps[8], 0)).mean().item()
    assert found == pytest.approx(3 * wanted)


def test_losses_are_computed_in_single_precision_under_autocast() -> None:
    given = [plain.targets(12, 0, ignored=2), plain.targets(3, 50)]
    rounded = YoloOutput({stride: map_.bfloat16() for stride, map_ in output().maps.items()})
    exact = YoloOutput({stride: map_.float() for stride, map_ in rounded.maps.items()})
    wanted = detached(head_of(V4).losses(exact, batch(given)))
    with torch.autocast("cpu", torch.bfloat16):
        losses = head_of(V4).losses(rounded, batch(given))
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert detached(losses) == pytest.approx(wanted, rel=1e-6)


def test_a_batch_without_targets_has_no_losses() -> None:
    with pytest.raises(InputError, match="losses of a batch without targets"):
        head_of({}).losses(output(), batch())


def wanted_detections(spec: YoloHeadSpec, raw: YoloOutput, image: int, classes: int) -> Detections:
    """Return the detections from the formulas, place by place; not clipped."""
    boxes, scores, labels = [], [], []
    for place in plain.places():
        row = plain.rows(raw.maps[place.stride], image, place, classes)
        values = [plain.sigmoid(row[4]) * plain.sigmoid(v) for v in row[5:]]
        named = range(classes) if spec.several_labels else [values.index(max(values))]
        for label in named:
            if values[label] > spec.least_score:
                boxes.append(plain.predicted(place, row, spec.box, spec.scales[place.level]))
                scores.append(values[label])
                labels.append(label)
    order = sorted(range(len(boxes)), key=lambda k: -scores[k])[: spec.candidates]
    kept = [
        k for label in range(classes) for k in plain.standing(boxes, [k for k in order if labels[k] == label], spec.nms_iou)
    ]
    best = sorted(kept, key=lambda k: -scores[k])[: spec.most_detections]
    return Detections(torch.tensor([boxes[k] for k in best]), *(torch.tensor([v[k] for k in best]) for v in (scores, labels)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"least_score": 0.3, "nms_iou": 0.3},
        {"several_labels": False, "most_detections": 40},
        {"candidates": 60, "nms_iou": 0.2},
        V4 | {"least_score": 0.1, "nms_iou": 0.45},
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_detections_against_a_slow_reference(options: dict[str, Any], seed: int) -> None:
    head, raw = head_of({**options, "clip": False}), output(seed=seed)
    for image, found in enumerate(head.decode(raw, batch())):
        wanted = wanted_detections(head.spec, raw, image, 3)
        assert len(wanted) > 30
        torch.testing.assert_close(found.scores, wanted.scores)
        torch.testing.assert_close(found.boxes, wanted.boxes, rtol=1e-5, atol=1e-3)
        assert found.labels.tolist() == wanted.labels.tolist()
        assert not found.boxes.requires_grad


def test_boxes_are_clipped_to_their_image() -> None:
    raw = output(spread=2.0)
    sizes, origins = ((40, 96), (64, 50)), ((12, 0), (0, 20))
    frame = torch.zeros(2, 3, *plain.FRAME)
    found = head_of({}).decode(raw, ImageBatch(frame, sizes, (plain.FRAME,) * 2, sizes, origins=origins))
    whole = head_of({}).decode(raw, batch())
    for one, all_, (height, width), (top, left) in zip(found, whole, sizes, origins, strict=True):
        assert 0 < len(one) <= len(all_)
        low, high = torch.tensor([left, top]), torch.tensor([left + width, top + height])
        assert (one.boxes[:, :2].amin(dim=0) == low).all()
        assert (one.boxes[:, 2:].amax(dim=0) == high).all()
        assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()


def test_only_one_place_speaks() -> None:
    """A place's logits are found at its own cell and anchor, and its box there, too."""
    raw = YoloOutput({stride: torch.full_like(map_, -20.0) for stride, map_ in output(images=1).maps.items()})
    raw.maps[16].unflatten(1, (3, 8))[0, 2, :, 1, 4] = torch.tensor([0.0, 0, 0, 0, 20, -20, 20, -20])
    (found,) = head_of({}).decode(raw, batch(images=1))
    assert found.labels.tolist() == [1]
    assert found.boxes.tolist() == [[72 - 29.5, 0, 96, 24 + 29]]  # 59 x 58 about (72, 24), clipped


def test_nothing_found() -> None:
    raw = YoloOutput({stride: torch.full_like(map_, -20.0) for stride, map_ in output().maps.items()})
    assert [len(found) for found in head_of({}).decode(raw, batch())] == [0, 0]


def test_classes_do_not_suppress_each_other_left_of_the_frame() -> None:
    """Boxes with negative coordinates: a shift by class that counts from 0 alone would lay one class over another."""
    spec = {"anchors": (((80.0, 80.0),),), "balance": (1.0,), "nms_iou": 0.01, "least_score": 0.3}
    head = YoloHead(YoloHeadSpec(**spec), {8: 6}, 2)
    maps = torch.full((1, 7, 8, 8), -20.0)
    maps[0, :, 0, 0] = torch.tensor([0.0, 0, 0, 0, 9, -20, 8])  # class 1, -36 … 44
    maps[0, :, 7, 7] = torch.tensor([0.0, 0, 0, 0, 9, 8, -20])  # class 0, 20 … 100
    (found,) = head.decode(YoloOutput({8: maps}), ImageBatch(torch.zeros(1, 3, 64, 64), ((64, 64),), ((64, 64),), ((64, 64),)))
    assert sorted(found.labels.tolist()) == [0, 1]


def test_maps_at_the_size_of_the_notes() -> None:
    head = YoloHead(YoloHeadSpec(), CHANNELS, 20)
    maps = head({s: torch.randn(1, c, 288 // s, 416 // s) for s, c in CHANNELS.items()}).maps
    assert {s: tuple(m.shape) for s, m in maps.items()} == {8: (1, 75, 36, 52), 16: (1, 75, 18, 26), 32: (1, 75, 9, 13)}


@pytest.mark.parametrize("classes", [1, 3, 80])
def test_what_it_begins_with(classes: int) -> None:
    head = head_of({}, classes)
    for stride, anchors in zip(plain.STRIDES, plain.ANCHORS, strict=True):
        layer = head.get_submodule(f"predict.{stride}")
        assert isinstance(layer, torch.nn.Conv2d)
        assert layer.weight.shape == (len(anchors) * (5 + classes), CHANNELS[stride], 1, 1)
        assert layer.bias is not None
        bias = layer.bias.view(-1, 5 + classes)
        assert (bias[:, :4] == 0).all()
        assert bias[0, 4].sigmoid().item() == pytest.approx(8 * stride**2 / 640**2)
        assert bias[0, 5:].sigmoid().tolist() == pytest.approx([0.6 / classes] * classes)
    assert set(head.state_dict()) == {f"predict.{s}.{name}" for s in plain.STRIDES for name in ("weight", "bias")}


def test_class_rows_say_which_rows_are_whose() -> None:
    head = head_of({}, 4)
    rows = head.class_rows()
    assert set(rows) == set(head.state_dict())
    for name, classes in rows.items():
        assert classes.dtype == torch.int64
        assert len(classes) == len(head.get_parameter(name))
        assert classes[:9].tolist() == [SHARED] * 5 + [0, 1, 2, 3]
    with torch.no_grad():  # the rows of class 2, and no others, decide about class 2
        for name, classes in rows.items():
            head.get_parameter(name)[classes == 2] = -50.0 if name.endswith("bias") else 0.0
    raw = head({s: torch.randn(1, c, 64 // s, 96 // s) for s, c in CHANNELS.items()})
    spec_all = head.spec.model_copy(update={"least_score": 0.0})
    head.spec = spec_all
    (found,) = head.decode(raw, batch(images=1))
    assert set(found.above(1e-12).labels.tolist()) == {0, 1, 3}


@pytest.mark.parametrize("options", [V5, V4], ids=["v5", "v4"])
def test_contract(options: dict[str, Any]) -> None:
    check_dense_head("yolo_head", CHANNELS, **({"anchors": plain.ANCHORS} | options))


def test_anchors_belong_to_ascending_strides() -> None:
    ordered, other = head_of({}), YoloHead(YoloHeadSpec(anchors=plain.ANCHORS), dict(reversed(CHANNELS.items())), 3)
    for one, same in zip(ordered.anchor_maps(output()), other.anchor_maps(output()), strict=True):
        assert one.stride == same.stride
        assert torch.equal(one.anchors, same.anchors)


def test_anchors_must_fit_the_maps() -> None:
    with pytest.raises(InputError, match=r"has anchors for 3 maps, the neck gives 2 \(strides 16, 32\); give anchors for each"):
        YoloHead(YoloHeadSpec(), {16: 6, 32: 6}, 3)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"anchors": ()}, "anchors: give those of at least one map"),
        ({"anchors": (((1, 2),), (), ((3, 4),))}, "anchors: map 2 of 3 has none"),
        ({"anchors": (((1, 0),),), "balance": (1.0,)}, "anchors.0.0.1: input should be greater than 0"),
        ({"anchors": (((1, 2),),)}, "balance for 3 maps, but anchors for 1 map; give one number for each map"),
        ({"scale_xy": (1.1, 1.2)}, "scale_xy for 2 maps, but anchors for 3 maps"),
        ({"box": "cubic"}, "box: input should be 'square' or 'exponential'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        YoloHeadSpec(**options)
    assert text in str(caught.value)
