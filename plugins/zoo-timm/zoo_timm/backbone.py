"""Any timm model with feature maps as a backbone."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from functools import lru_cache
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import Self

from zoo_core.errors import CheckpointError, InputError
from zoo_core.interfaces import Backbone
from zoo_core.report import LoadReport
from zoo_core.types import Features
from zoo_timm.specs import TimmSpec
from zoo_timm.stride import move_stride_first
from zoo_timm.weights import load_weights

log = logging.getLogger(__name__)
FROZEN_AT_RANDOM = (
    "backbone '%s' is new, so its weights are random, and part of it is frozen. To train it, give it weights: "
    "backbone.pretrained=true (from the Hub) or backbone.weights=FILE; "
    "or train all of it: backbone.frozen_stages=0 backbone.frozen_norm=false"
)


class TimmBackbone(Backbone):
    """A timm model cut at its feature maps (``features_only``).

    Frozen parts, the stem and then timm's stages, get no gradient, and their normalisation keeps its statistics.
    """

    def __init__(self, spec: TimmSpec) -> None:
        super().__init__()
        self.spec = spec
        self.name = spec.type.rpartition("/")[2]
        self.body, indices = _body(self.name, spec.strides)
        if spec.stride_first:
            move_stride_first(self.body, self.name)
        info = self.body.feature_info
        self._outputs = dict(zip(spec.strides, indices, strict=True))
        self.channels = dict(zip(spec.strides, (info.channels()[k] for k in indices), strict=True))
        self._freeze()

    def forward(self, images: Tensor) -> Features:
        """Return the feature maps (N, C, H / stride, W / stride)."""
        maps = self.body(images)
        features = {stride: maps[index] for stride, index in self._outputs.items()}
        return {stride: f.permute(0, 3, 1, 2) for stride, f in features.items()} if _channels_last(self.body) else features

    def frozen_parts(self) -> list[nn.Module]:
        """Return the modules that are not trained, from the input on."""
        frozen: list[nn.Module] = []
        if self.spec.frozen_stages:
            stages = _stages(self.body)
            if self.spec.frozen_stages > len(stages):
                wanted = f"frozen_stages={self.spec.frozen_stages}"
                raise InputError(f"backbone '{self.name}' has {len(stages)} parts that can be frozen; {wanted}")
            frozen = [module for stage in stages[: self.spec.frozen_stages] for module in stage]
        return frozen

    def _freeze(self) -> None:
        for module in self.frozen_parts():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Switch to training; frozen parts and frozen normalisation stay in evaluation."""
        super().train(mode)
        for module in self.frozen_parts():
            module.eval()
        if self.spec.frozen_norm:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def load_pretrained(self) -> LoadReport | None:
        """Load the file `weights` of the spec, or timm's own weights from the Hub, and return what became of each tensor.

        Raises:
            CheckpointError: the file is missing, unreadable, or of a network that is not this one; or no network.
        """
        if self.spec.weights is not None:
            return load_weights(self.body, self.spec.weights).under("body.")
        if self.spec.pretrained:
            return self._fetch().under("body.")
        if self.spec.frozen_stages or self.spec.frozen_norm:
            log.warning(FROZEN_AT_RANDOM, self.name)
        return None

    def _fetch(self) -> LoadReport:
        try:
            source = _create(self.name, pretrained=True, out_indices=_indices(self.body))
        except Exception as error:  # whatever the Hub's client raises
            raise CheckpointError(
                f"cannot fetch the ImageNet weights of '{self.name}': {error}. "
                "Give a file instead: backbone={'weights': 'FILE'}, or pretrained=False"
            ) from error
        self.body.load_state_dict(source.state_dict())
        return LoadReport(loaded=list(self.body.state_dict()))


ANY_SIZE: tuple[dict[str, Any], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True})
"""How the families of Swin and of ViT are told that images come in any size."""


def _create(name: str, **options: Any) -> Any:
    for option in ANY_SIZE:
        with suppress(TypeError):  # another family does not know the option
            return timm.create_model(name, features_only=True, **option, **options)
    return timm.create_model(name, features_only=True, **options)


def _body(name: str, strides: tuple[int, ...]) -> tuple[Any, list[int]]:
    """Return the timm model up to the last wanted map, and where in its output each stride is."""
    frame = (8 * strides[-1], 12 * strides[-1])
    reductions, sizes = _maps(name, frame)
    missing = [stride for stride in strides if stride not in reductions]
    if missing:
        raise InputError(f"backbone '{name}' has maps of strides {list(reductions)}, not of {missing}")
    # The last map of each stride: where a model repeats one, the later is the deeper.
    last = {reduction: index for index, reduction in enumerate(reductions)}
    for stride in strides:
        size = sizes[last[stride]]
        if size != (frame[0] // stride, frame[1] // stride):
            raise InputError(f"timm's '{name}' cannot be a backbone: its map of stride {stride} of {frame} pixels has {size}")
    body = _create(name, out_indices=tuple(range(last[strides[-1]] + 1)))
    return body, [last[stride] for stride in strides]


@lru_cache(maxsize=64)
def _maps(name: str, frame: tuple[int, int]) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Return the strides of the maps that a timm model says it gives, and the (height, width) that they have of a frame."""
    with torch.device("meta"), torch.no_grad():  # shapes alone
        try:
            probe = _create(name).eval()
            maps = probe(torch.empty(1, 3, *frame))
            sides = slice(1, 3) if _channels_last(probe) else slice(2, None)
            return tuple(probe.feature_info.reduction()), tuple(tuple(found.shape[sides]) for found in maps)
        except Exception as error:  # whatever a model of timm's raises
            reason = f"it gives no feature maps for images of any size: {str(error).splitlines()[0]}"
            raise InputError(f"timm's '{name}' cannot be a backbone: {reason}") from error


def _channels_last(body: Any) -> bool:
    return getattr(body, "output_fmt", "NCHW") == "NHWC"


def _indices(body: Any) -> tuple[int, ...]:
    return tuple(range(len(body.feature_info.channels())))


STAGE = re.compile(r"(layers?|stages?|blocks?|level|s)_?\d+")


def _stages(body: nn.Module) -> list[list[nn.Module]]:
    """Return the modules of the stem, then of each stage; none when the names do not tell."""
    children = dict(body.named_children())
    if "blocks" in children:  # EfficientNet and MobileNet: a stem, then numbered stages
        stem = [module for name, module in children.items() if name != "blocks"]
        return [stem, *([block] for block in children["blocks"].children())]
    stages: list[list[nn.Module]] = [[]]
    for name, module in children.items():
        if STAGE.fullmatch(name):
            stages.append([])
        stages[-1].append(module)
    return stages if len(stages) > 1 else []
