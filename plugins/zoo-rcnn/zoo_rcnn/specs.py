"""Options of the parts of Faster R-CNN. The defaults are MMDetection's for its 1x configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from typing_extensions import Self

from zoo_core.specs import AssignerSlot, ComponentSpec, SamplerSlot

Share = Annotated[float, Field(ge=0, le=1)]
Std = tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat]


class MaxIoUSpec(ComponentSpec):
    """Assignment by greatest overlap."""

    type: str = "max_iou"
    positive: Share = Field(0.5, description="overlap from which on a prior answers for the target")
    negative: Share | tuple[Share, Share] = Field(
        0.5, description="overlap below which a prior is background; of a pair, from the first on and below the second"
    )
    low_quality: bool = Field(False, description="each target also takes the priors that overlap it most")
    least_low_quality: Share = Field(0.3, description="overlap that a low-quality match needs at least")
    all_ties: bool = Field(True, description="a low-quality match takes all priors of exactly the best overlap, not one")
    ignore: Share | None = Field(None, description="a prior that lies in an ignored region by more than this is left out")
    ignore_share_of: Literal["prior", "region"] = Field("prior", description="whose area `ignore` is a share of")
    budget_mib: PositiveInt = Field(128, description="bound of the working memory; more targets take more passes")

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = (0.0, self.negative) if isinstance(self.negative, float) else self.negative
        if not low <= high <= self.positive:
            raise ValueError(f"negative={self.negative} must ascend, and not be above positive={self.positive}")
        return self


class RandomSamplerSpec(ComponentSpec):
    """Random sampling of matched priors."""

    type: str = "random"
    count: PositiveInt = Field(256, description="priors per image that are trained on")
    positive_share: Share = Field(0.5, description="bound of the share of positives")
    most_negatives_per_positive: PositiveFloat | None = Field(None, description="bound of background per positive")


class RPNSpec(ComponentSpec):
    """A region proposal network."""

    type: str = "rpn"
    width: PositiveInt | None = Field(None, description="channels of the shared convolution; by default those of the maps")
    scales: tuple[PositiveFloat, ...] = Field((8.0,), description="anchor sides in strides")
    ratios: tuple[PositiveFloat, ...] = Field((0.5, 1.0, 2.0), description="anchor height over width")
    rounded: bool = Field(False, description="corners of anchors are rounded to whole pixels, as torchvision has them")
    fitted_steps: bool = Field(
        False, description="cells of a map lie image side // map side apart, not a stride, as torchvision has them"
    )
    std: Std = Field((1.0, 1.0, 1.0, 1.0), description="scale of the box deltas")
    shrink_bound: bool = Field(
        True, description="a box becomes at most 62.5 times smaller, as it becomes larger; without, as Detectron2 has it"
    )
    assigner: AssignerSlot = MaxIoUSpec(positive=0.7, negative=0.3, low_quality=True)
    sampler: SamplerSlot = RandomSamplerSpec()
    border: NonNegativeInt | None = Field(None, description="anchors farther than this outside the image are not trained on")
    candidates_train: PositiveInt = Field(2000, description="best anchors per level before suppression, in training")
    candidates: PositiveInt = Field(1000, description="best anchors per level before suppression")
    nms_iou: Share = Field(0.7, description="overlap above which the lesser proposal goes")
    rank_by: Literal["score", "logit"] = Field(
        "score", description="which proposals are the best; scores near 1 are equal in 32 bits, their logits are not"
    )
    proposals: PositiveInt = Field(1000, description="proposals per image")
    least_side: NonNegativeFloat = Field(0.0, description="proposals have longer sides than this, in pixels")


class BoxHeadSpec(ComponentSpec):
    """RoIAlign, two shared fully connected layers, then classes and boxes."""

    type: str = "box_head"
    width: PositiveInt = Field(1024, description="width of the shared layers")
    roi_size: PositiveInt = Field(7, description="side of the grid that a region is pooled to")
    roi_sampling: NonNegativeInt = Field(0, le=64, description="samples per cell and axis; 0 for as many as there are pixels")
    roi_aligned: bool = Field(True, description="pixel centres lie half a pixel inside")
    strides: tuple[PositiveInt, ...] = Field((4, 8, 16, 32), description="strides of the maps that regions are pooled from")
    std: Std = Field((0.1, 0.1, 0.2, 0.2), description="scale of the box deltas")
    shrink_bound: bool = Field(
        True, description="a box becomes at most 62.5 times smaller, as it becomes larger; without, as Detectron2 has it"
    )
    assigner: AssignerSlot = MaxIoUSpec()
    sampler: SamplerSlot = RandomSamplerSpec(count=512, positive_share=0.25)
    add_targets: bool = Field(True, description="in training the targets are proposals as well")
    least_score: Share = Field(0.05, description="detections need more than this")
    nms_iou: Share = Field(0.5, description="overlap above which the lesser detection of a class goes")
    most_detections: PositiveInt = Field(100, description="detections per image")
    least_side: NonNegativeFloat | None = Field(None, description="detections have longer sides than this, in pixels")
