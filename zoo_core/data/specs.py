"""Options of the data formats and of augmentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from zoo_core.specs import ComponentSpec, Spec

Probability = Annotated[float, Field(ge=0, le=1)]


class KittiSpec(ComponentSpec):
    """The KITTI format has no options."""

    type: str = "kitti"


class CocoSpec(ComponentSpec):
    """The COCO format has no options."""

    type: str = "coco"


class ToySpec(ComponentSpec):
    """How many scenes are drawn, and which."""

    type: str = "toy"
    train: PositiveInt = Field(128, description='images of the split "train"')
    val: PositiveInt = Field(32, description='images of the split "val"')
    seed: NonNegativeInt = Field(0, description="another seed draws other scenes")


class AugmentSpec(Spec):
    """What is done to a training image, at random."""

    flip: Probability = Field(0.5, description="probability of a horizontal flip")
    scale: tuple[float, float] = Field((1.0, 1.0), description="range of the zoom, of a mosaic too; the image keeps its size")
    translate: Probability = Field(0.0, description="largest shift of the image, or of a mosaic, as a share of the sides")
    photometric: Probability = Field(0.0, description="probability of a change of brightness, contrast, saturation and hue")
    hsv: tuple[Probability, Probability, Probability] = Field(
        (0.0, 0.0, 0.0), description="hue, saturation and value are multiplied by 1 ± up to this much"
    )
    min_visible: Probability = Field(0.3, description="an object of which cutting leaves less becomes an ignore region")
    mosaic: Probability = Field(0.0, description="probability that the image is laid out with three others around a point")
    mixup: Probability = Field(0.0, description="probability that a mosaic is blended with another one")

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, scale: tuple[float, float]) -> tuple[float, float]:
        low, high = scale
        if not 0 < low <= high < 100:
            raise ValueError(f"expected two factors above 0 and below 100, the smaller one first, got ({low:g}, {high:g})")
        return scale
