from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from zoo_core.build import build_part
from zoo_core.create import create
from zoo_core.errors import CheckpointError, InputError
from zoo_core.registry import find
from zoo_core.specs import Slot
from zoo_core.types import Targets
from zoo_timm import backbone as module
from zoo_timm.backbone import TimmBackbone
from zoo_timm.names import names, offers
from zoo_timm.plugin import LISTED
from zoo_timm.specs import TimmSpec

SMALL: dict[str, Any] = {"num_classes": 3, "neck": {"width": 16}, "roi_head": {"width": 16}}


def backbone_of(name: str, **options: Any) -> TimmBackbone:
    backbone = build_part("backbone", Slot("backbone").resolve({"type": name, **options}))
    assert isinstance(backbone, TimmBackbone)
    return backbone


@pytest.mark.parametrize(
    ("name", "channels", "parameters"),
    [
        ("resnet18", (64, 128, 256, 512), 11_176_512),
        ("resnet34", (64, 128, 256, 512), 21_284_672),
        ("resnet50", (256, 512, 1024, 2048), 23_508_032),
        ("resnet101", (256, 512, 1024, 2048), 42_500_160),
    ],
)
def test_resnets(name: str, channels: tuple[int, ...], parameters: int) -> None:
    with torch.device("meta"):
        backbone = backbone_of(name)
    assert backbone.channels == dict(zip((4, 8, 16, 32), channels, strict=True))
    assert sum(p.numel() for p in backbone.parameters()) == parameters


def test_the_stride_of_a_resnet_is_on_the_three_by_three() -> None:
    with torch.device("meta"):
        block = backbone_of("resnet50").body.layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


# The last two have channels innermost; one of them as many channels as its map has rows or columns.
@pytest.mark.parametrize(
    "name",
    [
        *("test_resnet", "test_resnet.r160_in1k", "test_convnext", "test_efficientnet", "test_byobnet", "zoo-timm/test_nfnet"),
        *("mobilenetv3_small_050", "regnetx_002", "test_mambaout", "swin_tiny_patch4_window7_224"),
    ],
)
def test_any_model_of_timm_by_name(name: str) -> None:
    backbone = backbone_of(name).eval()
    with torch.no_grad():
        for height, width in ((64, 128), (96, 64)):
            features = backbone(torch.rand(2, 3, height, width))
            shapes = {s: (2, c, height // s, width // s) for s, c in backbone.channels.items()}
            assert {stride: tuple(map_.shape) for stride, map_ in features.items()} == shapes


@pytest.mark.parametrize("name", ["test_convnext", "test_mambaout", "mobilenetv3_small_050"])
def test_any_model_of_timm_detects_and_trains(name: str) -> None:
    model = create("faster_rcnn_r18_fpn", backbone=name, **SMALL)
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    (found,) = model.eval()([image])
    assert found.boxes.isfinite().all()
    batch = model.preprocess([image], [Targets(torch.tensor([[5.0, 5, 30, 30]]), torch.tensor([1]))])
    sum(model.train()(batch).values()).backward()
    assert all(p.grad is not None for p in model.backbone.parameters() if p.requires_grad)


def test_maps_with_channels_innermost_are_turned() -> None:
    backbone = backbone_of("test_mambaout").eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        raw, found = backbone.body(images)[0], backbone(images)[4]
    assert raw.shape == (1, 16, 24, 16)  # rows as many as channels
    assert torch.equal(found, raw.permute(0, 3, 1, 2))


def test_only_the_wanted_strides_and_no_layer_beyond() -> None:
    backbone = backbone_of("resnet18", strides=(8, 16))
    assert backbone.channels == {8: 128, 16: 256}
    assert not any("layer4" in name for name in backbone.state_dict())
    assert list(backbone(torch.rand(1, 3, 32, 32))) == [8, 16]


def test_a_vision_transformer_has_one_stride() -> None:
    backbone = backbone_of("test_vit", strides=(16,)).eval()
    assert tuple(backbone(torch.rand(1, 3, 64, 96))[16].shape) == (1, 64, 4, 6)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test_vit", r"backbone 'test_vit' has maps of strides \[16, 16, 16\], not of \[4, 8, 32\]"),
        ("test_maxvit", "timm's 'test_maxvit' cannot be a backbone: it gives no feature maps for images of any size"),
        ("inception_v3", "its map of stride 4 of .* pixels has"),
    ],
)
def test_models_that_cannot_be_a_backbone(name: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        backbone_of(name)


def test_a_name_that_timm_does_not_know() -> None:
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        backbone_of("resnet19")


# Freezing


def frozen(backbone: nn.Module) -> set[str]:
    """Return the first words of the names of the parameters that are not trained."""
    return {name.split(".")[1] for name, p in backbone.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize(
    ("name", "parts", "names"),
    [
        ("resnet18", 0, set()),
        ("resnet18", 1, {"conv1", "bn1"}),
        ("resnet18", 2, {"conv1", "bn1", "layer1"}),
        ("resnet18", 5, {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}),
        ("test_convnext", 2, {"stem_0", "stem_1", "stages_0"}),
        ("test_byobnet", 1, {"stem"}),
        ("regnetx_002", 2, {"stem", "s1"}),
        ("swin_tiny_patch4_window7_224", 1, {"patch_embed"}),
        ("mobilenetv2_100", 1, {"conv_stem", "bn1"}),
    ],
)
def test_frozen_parts(name: str, parts: int, names: set[str]) -> None:
    with torch.device("meta"):
        backbone = backbone_of(name, frozen_stages=parts)
    assert frozen(backbone) == names


def test_frozen_stages_of_a_mobilenet() -> None:
    with torch.device("meta"):
        backbone = backbone_of("mobilenetv2_100", frozen_stages=3)
    names = {".".join(n.split(".")[1:3]) for n, p in backbone.named_parameters() if not p.requires_grad}
    assert names == {"conv_stem.weight", "bn1.weight", "bn1.bias", "blocks.0", "blocks.1"}


@pytest.mark.parametrize(("name", "parts"), [("resnet18", 5), ("vgg11", 0), ("test_vit", 0)])
def test_more_frozen_parts_than_there_are(name: str, parts: int) -> None:
    strides = (16,) if name == "test_vit" else (8, 16, 32)
    with torch.device("meta"), pytest.raises(InputError, match=rf"has {parts} parts .*; frozen_stages={parts + 1}"):
        backbone_of(name, frozen_stages=parts + 1, strides=strides)


def statistics(backbone: nn.Module) -> dict[str, torch.Tensor]:
    return {name: b.clone() for name, b in backbone.named_buffers() if name.endswith(("running_mean", "running_var"))}


@pytest.mark.parametrize(("options", "moving"), [({}, {"bn1", "layer1", "layer4"}), ({"frozen_stages": 2}, {"layer4"})])
def test_norm_statistics_of_trained_parts_move(options: dict[str, Any], moving: set[str]) -> None:
    backbone = backbone_of("resnet18", **options).train()
    before = statistics(backbone)
    backbone(torch.rand(2, 3, 64, 64))
    moved = {name.split(".")[1] for name, value in statistics(backbone).items() if not torch.equal(value, before[name])}
    assert moved & {"bn1", "layer1", "layer4"} == moving


def test_frozen_norm_keeps_every_statistic_and_still_learns() -> None:
    backbone = backbone_of("resnet18", frozen_norm=True).train()
    before = statistics(backbone)
    assert backbone.training
    backbone(torch.rand(2, 3, 64, 64))[32].sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in statistics(backbone).items())
    assert backbone.body.bn1.weight.grad is not None


def test_training_mode_follows_and_comes_back() -> None:
    backbone = backbone_of("resnet18", frozen_stages=1)
    assert backbone.train().body.layer1.training
    assert not backbone.body.bn1.training
    assert not backbone.eval().body.layer1.training


# Weights from the Hub


def test_pretrained_weights_are_loaded_from_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = backbone_of("test_resnet", pretrained=True)
    other = backbone_of("test_resnet")
    asked = []

    def made(name: str, **options: Any) -> Any:
        asked.append((name, options["pretrained"]))
        return other.body

    monkeypatch.setattr(module, "_create", made)
    backbone.load_pretrained()
    assert asked == [("test_resnet", True)]
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in backbone.state_dict().items())


def test_without_a_network_the_advice_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    backbone = backbone_of("test_resnet", pretrained=True)
    monkeypatch.setattr(module, "_create", refuse)
    with pytest.raises(CheckpointError, match=r"weights of 'test_resnet': no route to host\. Give a file instead"):
        backbone.load_pretrained()


def test_nothing_is_loaded_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = backbone_of("test_resnet")
    monkeypatch.setattr(module, "_create", None)
    backbone.load_pretrained()


# Options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strides": ()}, "strides must ascend"),
        ({"strides": (8, 4)}, "strides must ascend"),
        ({"pretrained": True, "weights": "file.pth"}, "either pretrained=True or a file"),
        ({"frozen_stages": -1}, "greater than or equal to 0"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        TimmSpec(type="resnet18", **options)


def test_the_listed_names_are_timms() -> None:
    assert all(offers(name) for name in LISTED)
    assert set(LISTED) <= set(names())
    assert not offers("resnet19")
    assert find("backbone", "resnet18").plugin.distribution == "zoo-timm"
