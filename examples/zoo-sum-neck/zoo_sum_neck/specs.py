"""Options of the neck."""

from __future__ import annotations

from pydantic import Field, PositiveInt, model_validator
from typing_extensions import Self

from zoo_core.specs import ComponentSpec


class WeightedSumSpec(ComponentSpec):
    """A pyramid whose maps are added with learned weights."""

    type: str = "weighted_sum"
    width: PositiveInt = Field(256, description="channels of every map")
    strides: tuple[PositiveInt, ...] = Field((4, 8, 16, 32, 64), description="strides of the maps to give out")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.strides or any(b != 2 * a for a, b in zip(self.strides, self.strides[1:], strict=False)):
            raise ValueError(f"each stride must be twice the one before, got {self.strides}")
        return self
