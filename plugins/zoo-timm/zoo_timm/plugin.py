"""What zoo-timm offers: any timm model with feature maps, under timm's name; the usual ones are listed."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_core.contributions import Component, Contribution, Family
from zoo_core.plugins import hookimpl

LISTED = {
    "resnet18": "ResNet-18 (He et al., 2016)",
    "resnet34": "ResNet-34 (He et al., 2016)",
    "resnet50": "ResNet-50, stride on the 3x3 convolution",
    "resnet101": "ResNet-101, stride on the 3x3 convolution",
    "resnet152": "ResNet-152, stride on the 3x3 convolution",
    "mobilenetv2_100": "MobileNetV2 1.0 (Sandler et al., 2018)",
    "tf_efficientnet_lite0": "EfficientNet-Lite0 (Tan and Le, 2019)",
}


@hookimpl
def zoo_contributions() -> Iterator[Contribution]:
    """Yield the backbones."""
    parts = ("zoo_timm.specs:TimmSpec", "zoo_timm.backbone:TimmBackbone")
    for name, summary in LISTED.items():
        yield Component("backbone", name, *parts, summary=summary)
    yield Family(
        *("backbone", "timm", *parts, "zoo_timm.names:offers", "zoo_timm.names:names"),
        summary="every other timm model with feature maps, by timm's name",
    )
    yield Component(
        *("importer", "timm_backbone", "zoo_timm.specs:TimmImporterSpec", "zoo_timm.importer:TimmImporter"),
        summary="ImageNet weights of timm and torchvision, for the backbone of a recipe",
    )
