"""Options of a timm backbone, and of the importer of its weights: the latter has none so far."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, model_validator
from typing_extensions import Self

from zoo_core.specs import ComponentSpec


class TimmSpec(ComponentSpec):
    """A timm model as a backbone; `type` is timm's name."""

    strides: tuple[int, ...] = Field((4, 8, 16, 32), description="strides of the feature maps to give out")
    frozen_stages: NonNegativeInt = Field(
        0, description="how many parts from the input on are not trained: 1 the stem, 2 the first stage as well, …"
    )
    frozen_norm: bool = Field(False, description="batch normalisation uses its stored statistics, in training as well")
    stride_first: bool = Field(
        False,
        description="the stride of a bottleneck is on its first 1x1 convolution, as in Caffe's and Detectron2's ResNets",
    )
    pretrained: bool = Field(False, description="a new detector loads timm's weights from the Hub")
    weights: str | None = Field(None, description="a new detector loads this file of ImageNet weights")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.strides or list(self.strides) != sorted(set(self.strides)):
            raise ValueError(f"strides must ascend, got {self.strides}")
        if self.pretrained and self.weights:
            raise ValueError("give either pretrained=True or a file of weights, not both")
        if self.pretrained and self.stride_first:
            raise ValueError("timm's weights are for strides on the 3x3 convolutions; with stride_first=True give a file")
        return self


class TimmImporterSpec(ComponentSpec):
    """Files of ImageNet weights for a backbone."""

    type: str = "timm_backbone"
