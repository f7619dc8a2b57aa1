"""Options of the YOLO head and of its assigners. The defaults are YOLOv5's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from typing_extensions import Self

from zoo_core.specs import AssignerSlot, ComponentSpec

Share = Annotated[float, Field(ge=0, le=1)]
Anchor = tuple[PositiveFloat, PositiveFloat]
"""(width, height) in pixels."""

YOLOV5_ANCHORS: tuple[tuple[Anchor, ...], ...] = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)


class ShapeMatchSpec(ComponentSpec):
    """Assignment by the likeness of shapes, in the cell of a target and its nearest neighbours."""

    type: str = "shape_match"
    ratio: Annotated[float, Field(gt=1)] = Field(
        4.0, description="the sides of prior and target differ by less than this factor"
    )
    neighbours: Share = Field(0.5, description="a cell beside the target's takes part when this near, in cells; 0: none does")


class AnchorIoUSpec(ComponentSpec):
    """Assignment by the overlap of shapes, in the cell of a target: the best anchor, and all that overlap enough."""

    type: str = "anchor_iou"
    least_iou: Share = Field(0.213, description="anchors that overlap the target by more than this answer for it, too")


class YoloHeadSpec(ComponentSpec):
    """Boxes, objectness and classes at the anchors of every cell."""

    type: str = "yolo_head"
    anchors: tuple[tuple[Anchor, ...], ...] = Field(
        YOLOV5_ANCHORS, description="(width, height) of the anchors of each map in pixels, by ascending stride"
    )
    box: Literal["square", "exponential"] = Field(
        "square",
        description="how a side grows from the anchor's: by (2 sigmoid)², as in YOLOv5, or by exp, as in YOLOv3 and v4",
    )
    scale_xy: PositiveFloat | tuple[PositiveFloat, ...] = Field(
        2.0, description="cells that the centre of a box ranges over; one for all maps, or one for each"
    )
    assigner: AssignerSlot = ShapeMatchSpec()
    objectness: Literal["iou", "one"] = Field(
        "iou", description="goal of the objectness of a matched prior: its complete IoU with the target, or 1"
    )
    background_iou: Share | None = Field(
        None, description="a prior whose predicted box overlaps a target by more than this is no background"
    )
    ignore: Share | None = Field(
        0.5, description="a prior whose predicted box lies in an ignored region by more than this share is no background"
    )
    box_weight: NonNegativeFloat = Field(0.05, description="weight of the box loss")
    objectness_weight: NonNegativeFloat = Field(1.0, description="weight of the objectness loss")
    class_weight: NonNegativeFloat = Field(0.5, description="weight of the class loss")
    balance: tuple[PositiveFloat, ...] = Field((4.0, 1.0, 0.4), description="weight of the objectness loss of each map")
    label_smoothing: Share = Field(0.0, description="the class goals are this apart from 1 and 0, together")
    divisor: Literal["mean", "images"] = Field(
        "mean",
        description="losses as YOLOv5's means over the pairs or cells of a map, times the images; or as Darknet's plain sums",
    )
    least_score: Share = Field(0.001, description="detections need more than this")
    nms_iou: Share = Field(0.65, description="overlap above which the lesser detection of a class goes")
    several_labels: bool = Field(
        True, description="a box is a detection of every class above `least_score`, not of the best one"
    )
    candidates: PositiveInt = Field(30_000, description="best detections per image before suppression")
    most_detections: PositiveInt = Field(300, description="detections per image")
    clip: bool = Field(True, description="boxes end at the border of the image")

    @model_validator(mode="after")
    def _check(self) -> Self:
        maps = len(self.anchors)
        if not maps:
            raise ValueError("anchors: give those of at least one map")
        for number, anchors in enumerate(self.anchors, 1):
            if not anchors:
                raise ValueError(f"anchors: map {number} of {maps} has none")
        for name, values in (("scale_xy", self.scale_xy), ("balance", self.balance)):
            if isinstance(values, tuple) and len(values) != maps:
                raise ValueError(
                    f"{name} for {_maps(len(values))}, but anchors for {_maps(maps)}; give one number for each map"
                )
        return self

    @property
    def scales(self) -> tuple[float, ...]:
        """`scale_xy` of each map."""
        return self.scale_xy if isinstance(self.scale_xy, tuple) else (self.scale_xy,) * len(self.anchors)


def _maps(count: int) -> str:
    return f"{count} map{'s' * (count != 1)}"
