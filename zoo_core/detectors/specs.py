"""Options of the two shapes of detectors, and of the preprocessing that belongs to a model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from typing_extensions import Self

from zoo_core.specs import BackboneSlot, ComponentSpec, DenseHeadSlot, NeckSlot, PreprocessSlot, RoIHeadSlot

MOST_CLASSES = 100_000
"""Beyond this, a number of classes is a slip of the pen that would take all memory."""
LONGEST_SIDE = 32_768
"""In pixels; a longer side would take all memory, too."""
SHORTEST_SIDE = 2
"""In pixels; PyTorch cannot resample an image to a single one."""
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class ResizeSpec(ComponentSpec):
    """What every preprocessing of the core has: how pixels are resampled and normalised."""

    mean: tuple[float, float, float] = Field(IMAGENET_MEAN, description="subtracted from the RGB values 0 … 255")
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        IMAGENET_STD, description="what the difference is divided by"
    )
    antialias: bool = Field(False, description="an image made smaller is averaged, not sampled")
    whole_levels: bool = Field(True, description="the values of resampled pixels are rounded to whole numbers, 0 … 255")


class KeepRatioSpec(ResizeSpec):
    """Resize to fit a frame with the aspect ratio kept, normalise, pad: at the right and the bottom, or all around."""

    type: str = "keep_ratio"
    long_side: PositiveInt = Field(1333, le=LONGEST_SIDE, description="bound of the longer side, in pixels")
    short_side: int = Field(800, ge=SHORTEST_SIDE, le=LONGEST_SIDE, description="bound of the shorter side, in pixels")
    rounding: Literal["nearest", "down", "cut"] = Field(
        "nearest",
        description="how a fraction of a pixel in the new size is rounded; 'cut' is 'down' with torchvision's last bit",
    )
    pad_multiple: PositiveInt = Field(32, le=4096, description="sides are padded to a multiple of this")
    pad_value: float | None = Field(None, ge=0, le=255, description="grey of the padding, 0 … 255; by default the mean")
    centred: bool = Field(False, description="half of the padding is put at the left and the top")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.short_side > self.long_side:
            raise ValueError(f"short_side {self.short_side} is longer than long_side {self.long_side}")
        return self


class StretchSpec(ResizeSpec):
    """Resize to one size, whatever the aspect ratio, and normalise."""

    type: str = "stretch"
    height: int = Field(416, ge=SHORTEST_SIDE, le=LONGEST_SIDE, description="of the resized image, in pixels")
    width: int = Field(416, ge=SHORTEST_SIDE, le=LONGEST_SIDE, description="of the resized image, in pixels")


class DetectorSpec(ComponentSpec):
    """What every detector has."""

    num_classes: int = Field(80, ge=1, le=MOST_CLASSES, description="number of classes, background not counted")
    preprocess: PreprocessSlot = KeepRatioSpec()
    backbone: BackboneSlot
    neck: NeckSlot = None


class OneStageSpec(DetectorSpec):
    """Backbone, neck, and a dense head whose detections are the result."""

    type: str = "one_stage"
    head: DenseHeadSlot


class TwoStageSpec(DetectorSpec):
    """Backbone, neck, a dense head of one class that proposes, and an RoI head that decides."""

    type: str = "two_stage"
    proposer: DenseHeadSlot
    roi_head: RoIHeadSlot
