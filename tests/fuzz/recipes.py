"""A recipe that importers can be told to read weights into: Faster R-CNN with a ResNet-50 of few weights."""

from __future__ import annotations

from typing import Any

from tests.golden.tiny_resnet import TinyResNetSpec
from zoo_core.contributions import Component, Recipe
from zoo_core.recipes import resolve

SMALL: dict[str, Any] = {"num_classes": 3, "neck": {"width": 4}, "roi_head": {"width": 8, "roi_size": 2}}


class SmallResNetSpec(TinyResNetSpec):
    """A ResNet-50 of which all options are known that importers find in files; they change nothing here."""

    type: str = "small_resnet50"
    base: int = 2
    stride_first: bool = False
    frozen_stages: int = 0
    frozen_norm: bool = True


def fuzz_rcnn() -> Any:
    """Return the detector."""
    return resolve("faster_rcnn_r50_fpn", {**SMALL, "backbone": "small_resnet50"})


PARTS = (
    Component("backbone", "small_resnet50", f"{__name__}:SmallResNetSpec", "tests.golden.tiny_resnet:TinyResNet"),
    Recipe("detector", "fuzz_rcnn", f"{__name__}:fuzz_rcnn", "a small detector"),
)
