"""ResNets whose bottlenecks have the stride first, beside a plain one that is written out here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo_core.build import build_part
from zoo_core.errors import InputError
from zoo_core.specs import Slot
from zoo_timm.backbone import TimmBackbone
from zoo_timm.specs import TimmSpec

Weights = dict[str, Tensor]


def backbone_of(name: str, **options: object) -> TimmBackbone:
    backbone = build_part("backbone", Slot("backbone").resolve({"type": name, "stride_first": True, **options}))
    assert isinstance(backbone, TimmBackbone)
    return backbone.eval()


def normed(x: Tensor, w: Weights, name: str) -> Tensor:
    mean, variance, scale, shift = (w[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt() * scale[:, None, None] + shift[:, None, None]


def bottleneck(x: Tensor, w: Weights, name: str, stride: int, groups: int) -> Tensor:
    """He et al., "Deep residual learning", 2016: a stage begins with a stride, on the 1x1 of both ways."""
    inner = normed(functional.conv2d(x, w[f"{name}.conv1.weight"], stride=stride), w, f"{name}.bn1").relu()
    inner = functional.conv2d(inner, w[f"{name}.conv2.weight"], padding=1, groups=groups)
    inner = functional.conv2d(normed(inner, w, f"{name}.bn2").relu(), w[f"{name}.conv3.weight"])
    if f"{name}.downsample.0.weight" in w:
        x = normed(functional.conv2d(x, w[f"{name}.downsample.0.weight"], stride=stride), w, f"{name}.downsample.1")
    return (normed(inner, w, f"{name}.bn3") + x).relu()


def plain(x: Tensor, w: Weights, blocks: tuple[int, ...], groups: int) -> dict[int, Tensor]:
    x = normed(functional.conv2d(x, w["conv1.weight"], stride=2, padding=3), w, "bn1").relu()
    x = functional.max_pool2d(x, 3, 2, 1)
    maps = {}
    for stage, count in enumerate(blocks):
        for block in range(count):
            x = bottleneck(x, w, f"layer{stage + 1}.{block}", 2 if stage and not block else 1, groups)
        maps[4 * 2**stage] = x
    return maps


@pytest.mark.parametrize(("name", "blocks", "groups"), [("resnet26", (2, 2, 2, 2), 1), ("resnext50_32x4d", (3, 4, 6, 3), 32)])
def test_the_maps_are_those_of_a_plain_one(name: str, blocks: tuple[int, ...], groups: int) -> None:
    generator = torch.Generator().manual_seed(0)
    backbone = backbone_of(name)
    for norm in backbone.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    images = torch.rand(1, 3, 69, 90, generator=generator)  # sides that are odd after some strides
    with torch.no_grad():
        found = backbone(images)
        wanted = plain(images, {k.removeprefix("body."): v for k, v in backbone.state_dict().items()}, blocks, groups)
    for stride, map_ in wanted.items():
        torch.testing.assert_close(found[stride], map_, rtol=1e-4, atol=1e-4)
    other = backbone_of(name, stride_first=False)
    other.load_state_dict(backbone.state_dict())  # the weights of one form fit the other
    with torch.no_grad():
        assert not torch.allclose(other.eval()(images)[8], wanted[8], rtol=0.1, atol=0.1)


def test_maps_that_need_no_stride() -> None:
    assert backbone_of("resnet26", strides=(4,)).channels == {4: 256}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("resnet18", "has no bottlenecks of a ResNet"),
        ("test_convnext", "has no bottlenecks of a ResNet"),
        ("resnetblur50", "has its strides in pooling layers"),
    ],
)
def test_models_whose_stride_is_elsewhere(name: str, why: str) -> None:
    text = f"backbone '{name}' {why}, so its stride cannot be moved; leave out stride_first"
    with torch.device("meta"), pytest.raises(InputError) as caught:
        backbone_of(name)
    assert str(caught.value) == text


def test_timms_own_weights_are_for_the_other_form() -> None:
    with pytest.raises(ValueError, match="timm's weights are for strides on the 3x3 convolutions"):
        TimmSpec(type="resnet50", stride_first=True, pretrained=True)
