from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_core.detectors.preprocess import KeepRatio, Stretch, fit, round_up, scale_of
from zoo_core.detectors.specs import KeepRatioSpec, StretchSpec
from zoo_core.errors import InputError
from zoo_core.types import ANY_LABEL, Detections, Targets

MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def targets_of(*boxes: list[float]) -> Targets:
    return Targets(torch.tensor(boxes), torch.arange(len(boxes)))


def test_the_sizes_of_a_wide_image() -> None:
    assert fit((375, 1242), 1333, 800) == (402, 1333)
    assert round_up((402, 1333), 32) == (416, 1344)
    assert fit((370, 1224), 1333, 800) == (403, 1333)
    assert fit((1224, 370), 1333, 800) == (1333, 403)
    assert fit((1, 5000), 1333, 800) == (1, 1333)  # no side is less than 1
    assert fit((480, 640), 1333, 800) == (800, 1067)
    assert round_up((64, 65), 64) == (64, 128)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (90, 160), (31, 33)])
def test_normalised_resized_and_padded(size: tuple[int, int]) -> None:
    spec = KeepRatioSpec(long_side=100, short_side=64)
    image = picture(*size)
    batch = KeepRatio(spec)([image])
    height, width = batch.sizes[0]
    assert batch.original == (size,)
    assert batch.padded == (round_up((height, width), 32),)
    assert tuple(batch.tensor.shape[2:]) == batch.padded[0]
    pixels = batch.tensor[0, :, :height, :width] * STD + MEAN
    wanted = F.interpolate(image[None].float(), (height, width), mode="bilinear")[0]
    assert (pixels - wanted).abs().max() < 1.01
    assert not batch.tensor[0, :, height:].any()
    assert not batch.tensor[0, :, :, width:].any()


def test_an_image_of_the_right_size_is_only_normalised() -> None:
    image = picture(60, 80)
    batch = KeepRatio(KeepRatioSpec(long_side=80, short_side=60))([image])
    torch.testing.assert_close(batch.tensor[0, :, :60, :80], (image.float() - MEAN) / STD)


def test_a_batch_has_the_size_of_its_greatest_image() -> None:
    spec = KeepRatioSpec(long_side=96, short_side=96)
    batch = KeepRatio(spec)([picture(48, 96), picture(96, 40)], names=("wide.png", "high.png"))
    assert batch.sizes == ((48, 96), (96, 40))
    assert batch.padded == ((64, 96), (96, 64))
    assert tuple(batch.tensor.shape) == (2, 3, 96, 96)
    assert batch.targets is None
    assert batch.names == ("wide.png", "high.png")


def test_boxes_move_with_the_image_one_factor_per_axis() -> None:
    batch = KeepRatio(KeepRatioSpec())([picture(375, 1242)], [targets_of([621, 37.5, 1242, 375])])
    assert batch.targets is not None
    torch.testing.assert_close(batch.targets[0].boxes, torch.tensor([[666.5, 40.2, 1333.0, 402.0]]))


def test_targets_are_clipped_and_those_outside_left_out() -> None:
    spec = KeepRatioSpec(long_side=100, short_side=100)
    given = Targets(
        torch.tensor([[-10.0, 10, 20, 60], [50, 10, 60, 20], [-30, 0, -10, 20], [5, 5, 5, 9]]),
        torch.tensor([3, 2, 1, 0]),
        torch.tensor([[40.0, 40, 90, 90], [60, 0, 70, 10]]),
        torch.tensor([ANY_LABEL, 2]),
    )
    (found,) = KeepRatio(spec)([picture(50, 50)], [given]).targets or ()
    assert found.boxes.tolist() == [[0, 20, 40, 100]]
    assert found.labels.tolist() == [3]
    assert found.ignored.tolist() == [[80, 80, 100, 100]]
    assert found.ignored_labels.tolist() == [ANY_LABEL]
    assert given.boxes[0, 0] == -10


def test_no_targets_are_ordinary() -> None:
    batch = KeepRatio(KeepRatioSpec(long_side=64, short_side=64))([picture(20, 30)] * 2, [Targets(), Targets()])
    assert batch.targets is not None
    assert [len(targets) for targets in batch.targets] == [0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_restore_is_the_way_back(seed: int) -> None:
    preprocess = KeepRatio(KeepRatioSpec(long_side=333, short_side=200))
    sizes = [(75, 248), (310, 200), (1, 1)]
    corners = [torch.rand(4, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(dim=1).values for _ in sizes]
    given = [(c * torch.tensor([w, h])).flatten(1) for c, (h, w) in zip(corners, sizes, strict=True)]
    labels = torch.arange(4)
    batch = preprocess([picture(*size) for size in sizes], [Targets(boxes, labels) for boxes in given])
    assert batch.targets is not None
    detections = [Detections(t.boxes, torch.rand(len(t)), t.labels) for t in batch.targets]
    for found, wanted in zip(preprocess.restore(detections, batch), given, strict=True):
        torch.testing.assert_close(found.boxes, wanted, rtol=1e-5, atol=1e-4)
        assert torch.equal(found.labels, labels)


def test_the_factors_keep_their_precision() -> None:
    factors = scale_of((402, 1333), (375, 1242), torch.zeros(0, dtype=torch.float64)).tolist()
    assert factors == [1333 / 1242, 402 / 375] * 2


@pytest.mark.parametrize(
    "image",
    [torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4, dtype=torch.uint8), picture(0, 4)],
)
def test_what_is_no_image(image: Tensor) -> None:
    with pytest.raises(InputError, match=r"uint8 RGB of shape \(3, H, W\), not"):
        KeepRatio(KeepRatioSpec())([image])


def test_counts_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="at least one image"):
        KeepRatio(KeepRatioSpec())([])
    with pytest.raises(InputError, match="1 images with 2 targets"):
        KeepRatio(KeepRatioSpec())([picture(4, 4)], [Targets(), Targets()])


def test_it_can_be_sent_to_a_worker() -> None:
    preprocess = pickle.loads(pickle.dumps(KeepRatio(KeepRatioSpec(long_side=64, short_side=64))))
    assert preprocess([picture(20, 30)]).sizes == ((43, 64),)


@pytest.mark.parametrize("options", [{"long_side": 10, "short_side": 20}, {"std": (1.0, 0.0, 1.0)}, {"pad_multiple": 0}])
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        KeepRatioSpec.model_validate(options)


def test_no_image_becomes_a_single_pixel() -> None:
    """PyTorch fails where a uint8 image does."""
    for cls, options in ((KeepRatioSpec, {"short_side": 1}), (StretchSpec, {"height": 1}), (StretchSpec, {"width": 1})):
        with pytest.raises(ValueError, match="greater than or equal to 2"):
            cls.model_validate(options)
    for spec in (KeepRatioSpec(long_side=160, short_side=2), KeepRatioSpec(long_side=2, short_side=2)):
        for size in ((40, 50), (1000, 3), (2, 2000)):
            assert max(KeepRatio(spec)([picture(*size)]).sizes[0]) >= 2


LETTERBOX = {"long_side": 64, "short_side": 64, "mean": (0, 0, 0), "std": (255, 255, 255), "pad_value": 114.0, "centred": True}


def test_a_letterbox_is_centred_on_grey() -> None:
    spec = KeepRatioSpec(**LETTERBOX)
    batch = KeepRatio(spec)([picture(35, 64), picture(64, 51)])
    assert batch.sizes == ((35, 64), (64, 51))
    assert batch.padded == ((64, 64), (64, 64))
    assert batch.origins == ((14, 0), (0, 6))  # half of 29 and of 13, rounded down
    torch.testing.assert_close(batch.tensor[0, :, 14:49], picture(35, 64).float() / 255)
    torch.testing.assert_close(batch.tensor[1, :, :, 6:57], picture(64, 51).float() / 255)
    assert (batch.tensor[0, :, :14] == 114 / 255).all()
    assert (batch.tensor[0, :, 49:] == 114 / 255).all()
    assert (batch.tensor[1, :, :, :6] == 114 / 255).all()
    assert (batch.tensor[1, :, :, 57:] == 114 / 255).all()


def test_an_image_lies_alike_alone_and_beside_a_larger_one() -> None:
    letterbox = KeepRatio(KeepRatioSpec(**LETTERBOX))
    alone, together = letterbox([picture(20, 64)]), letterbox([picture(20, 64), picture(64, 64, seed=1)])
    assert alone.origins == together.origins[:1] == ((6, 0),)
    assert torch.equal(alone.tensor[0], together.tensor[0, :, :32])
    assert (together.tensor[0, :, 32:] == 114 / 255).all()


def test_boxes_go_into_a_letterbox_and_back() -> None:
    letterbox = KeepRatio(KeepRatioSpec(**LETTERBOX))
    batch = letterbox([picture(70, 128)], [targets_of([0.0, 0, 128, 70], [10, 20, 30, 40], [-9, 30, 5, 99])])
    assert batch.targets is not None
    assert batch.origins == ((14, 0),)
    wanted = torch.tensor([[0.0, 14, 64, 49], [5, 24, 15, 34], [0, 29, 2.5, 49]])
    torch.testing.assert_close(batch.targets[0].boxes, wanted)
    (back,) = letterbox.restore([Detections(wanted, torch.ones(3), torch.zeros(3, dtype=torch.int64))], batch)
    torch.testing.assert_close(back.boxes, torch.tensor([[0.0, 0, 128, 70], [10, 20, 30, 40], [0, 30, 5, 70]]))


def test_a_stretched_image_has_one_size_and_its_boxes_a_factor_per_axis() -> None:
    stretch = Stretch(StretchSpec(height=32, width=96, mean=(0, 0, 0), std=(255, 255, 255)))
    assert stretch.frame == (32, 96)
    batch = stretch([picture(64, 48), picture(1, 1)], [targets_of([0.0, 0, 24, 32]), Targets()])
    assert tuple(batch.tensor.shape) == (2, 3, 32, 96)
    assert batch.sizes == batch.padded == ((32, 96), (32, 96))
    assert batch.targets is not None
    assert batch.targets[0].boxes.tolist() == [[0, 0, 48, 16]]
    wanted = F.interpolate(picture(64, 48)[None].float(), (32, 96), mode="bilinear")[0] / 255
    assert (batch.tensor[0] - wanted).abs().max() < 1.01 / 255


def test_antialiasing_averages_what_is_made_smaller() -> None:
    checks = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).mul(255).to(torch.uint8).repeat(3, 1, 1)
    plain, smooth = (Stretch(StretchSpec(height=9, width=9, antialias=on))([checks]).tensor for on in (False, True))
    assert smooth.std(dim=(2, 3)).max() < 0.1 < plain.std(dim=(2, 3)).min()


def test_a_fraction_of_a_pixel_may_be_dropped() -> None:
    assert fit((427, 500), 640, 640) == (547, 640)  # 546.56
    down = KeepRatio(KeepRatioSpec(long_side=640, short_side=640, rounding="down"))
    assert down.fitted((427, 500)) == (546, 640)
    for side in range(1, 3000):  # 640 / side * side is not always 640
        assert down.fitted((side, side)) == (640, 640)


def test_a_fraction_may_be_cut_with_the_last_bit() -> None:
    cut = KeepRatio(KeepRatioSpec(long_side=1333, short_side=800, rounding="cut"))
    assert cut.fitted((480, 640)) == (800, 1066)
    found = {cut.fitted((side, side))[0] for side in range(1, 1000)}
    assert found == {799, 800}  # 800 / side * side may be 799.99…; torchvision cuts that, too


def test_resampled_pixels_may_keep_their_fractions() -> None:
    image = picture(20, 20)
    whole, exact = (
        KeepRatio(KeepRatioSpec(long_side=30, short_side=30, whole_levels=on, mean=(0, 0, 0), std=(1, 1, 1)))([image]).tensor
        for on in (True, False)
    )
    assert torch.equal(whole, whole.round())
    assert not torch.equal(exact, exact.round())
    torch.testing.assert_close(whole[0, :, :30, :30], exact[0, :, :30, :30], rtol=0, atol=1.01)
    wanted = torch.nn.functional.interpolate(image[None].float(), (30, 30), mode="bilinear")
    torch.testing.assert_close(exact[:, :, :30, :30], wanted)


@pytest.mark.parametrize("size", [(375, 1242), (1242, 375)])
def test_the_frame_holds_every_image(size: tuple[int, int]) -> None:
    keep = KeepRatio(KeepRatioSpec(long_side=640, short_side=320))
    assert keep.frame == (640, 640)
    assert max(keep([picture(*size)]).sizes[0]) <= 640
