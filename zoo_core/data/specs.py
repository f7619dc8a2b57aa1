"""Options of the data formats and of augmentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from typing_extensions import Self

from zoo_core.specs import ComponentSpec, Spec

Probability = Annotated[float, Field(ge=0, le=1)]


class KittiSpec(ComponentSpec):
    """The KITTI format has no options."""

    type: str = "kitti"


class CocoSpec(ComponentSpec):
    """The COCO format has no options."""

    type: str = "coco"


class ToySpec(ComponentSpec):
    """How many scenes are drawn, and which.

    Attributes:
        train: number of images of the split "train".
        val: number of images of the split "val".
        seed: another seed draws other scenes.
    """

    type: str = "toy"
    train: PositiveInt = 128
    val: PositiveInt = 32
    seed: NonNegativeInt = 0


class AugmentSpec(Spec):
    """What is done to a training image, at random.

    Attributes:
        flip: probability of a horizontal flip.
        scale: range of the factor that the image is zoomed by, at its size; (1, 1) leaves it as it is.
        photometric: probability of a distortion of brightness, contrast, saturation and hue.
        min_visible: an object of which zooming in leaves less than this part becomes an ignore region.
    """

    flip: Probability = 0.5
    scale: tuple[float, float] = (1.0, 1.0)
    photometric: Probability = 0.0
    min_visible: Probability = 0.3

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        low, high = self.scale
        if not 0 < low <= high < 100:
            raise ValueError(f"scale must be two factors above 0, the smaller one first, got ({low}, {high})")
        return self
