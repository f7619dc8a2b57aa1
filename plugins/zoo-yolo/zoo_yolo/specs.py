"""Options of the backbones and necks of YOLOv4 and YOLOv5. The defaults are the published ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator
from typing_extensions import Self

from zoo_core.specs import ComponentSpec

Activation = Literal["silu", "mish", "leaky", "relu", "swish", "logistic", "linear"]
Multiple = Annotated[float, Field(gt=0, le=16)]
Strides = tuple[Literal[4, 8, 16, 32], ...]
ACTIVATION = "after each convolution; leaky has a slope of 0.1"
STRIDES = "strides of the maps to return, ascending"
EPS = "added to the variance in batch norm"
MOMENTUM = "share of the new batch in the running statistics of batch norm"


class LayerSpec(ComponentSpec):
    """What all layers of a part have in common: activation and batch norm."""

    activation: Activation = Field("silu", description=ACTIVATION)
    norm_eps: PositiveFloat = Field(1e-3, description=EPS)
    norm_momentum: float = Field(0.03, gt=0, le=1, description=MOMENTUM)


class BodySpec(LayerSpec):
    """A backbone that halves its map five times."""

    strides: Strides = Field((8, 16, 32), description=STRIDES)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.strides or list(self.strides) != sorted(set(self.strides)):
            raise ValueError(f"strides must ascend, each once, at least one; got {self.strides}")
        return self


class C3DarknetSpec(BodySpec):
    """The backbone of YOLOv5, release 6."""

    type: str = "c3_darknet"
    depth: Multiple = Field(1.0, description="multiple of the numbers of blocks 3, 6, 9, 3")
    width: Multiple = Field(1.0, description="multiple of the channels 64, 128, 256, 512, 1024")


class C3PANSpec(LayerSpec):
    """Path aggregation of YOLOv5; each map keeps the channels that it comes with."""

    type: str = "c3_pan"
    depth: Multiple = Field(1.0, description="multiple of the number of blocks, 3")


class DarknetLayerSpec(LayerSpec):
    """What the layers of YOLOv4 have in common: the norms of Darknet."""

    activation: Activation = Field("leaky", description=ACTIVATION)
    norm_eps: PositiveFloat = Field(1e-6, description=EPS)
    norm_momentum: float = Field(0.1, gt=0, le=1, description=MOMENTUM)


class CSPDarknet53Spec(DarknetLayerSpec, BodySpec):
    """The backbone of YOLOv4."""

    type: str = "csp_darknet53"
    activation: Activation = Field("mish", description=ACTIVATION)


class SPPPANSpec(DarknetLayerSpec):
    """Spatial pyramid pooling and path aggregation of YOLOv4; each map keeps the channels that it comes with."""

    type: str = "spp_pan"


class CSPDarknet53TinySpec(DarknetLayerSpec, BodySpec):
    """The backbone of YOLOv4-tiny."""

    type: str = "csp_darknet53_tiny"
    strides: Strides = Field((16, 32), description=STRIDES)


class YoloTinyFPNSpec(DarknetLayerSpec):
    """The two maps of YOLOv4-tiny; each keeps the channels that it comes with."""

    type: str = "yolo_tiny_fpn"
