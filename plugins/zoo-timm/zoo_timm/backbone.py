"""Any timm model with feature maps as a backbone."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import Self

from zoo_core.errors import CheckpointError, InputError
from zoo_core.interfaces import Backbone
from zoo_core.types import Features
from zoo_timm.specs import TimmSpec
from zoo_timm.weights import load_weights


class TimmBackbone(Backbone):
    """A timm model cut at its feature maps (``features_only``).

    Frozen stages follow "Faster R-CNN" practice: the first counts the stem, each further one the layers up to the next
    halving of the resolution. Frozen parts get no gradient and their normalisation keeps its statistics.
    """

    def __init__(self, spec: TimmSpec) -> None:
        super().__init__()
        self.spec = spec
        self.name = spec.type.rpartition("/")[2]
        self.body, indices = _body(self.name, spec.strides)
        info = self.body.feature_info
        self._outputs = dict(zip(spec.strides, indices, strict=True))
        self.channels = dict(zip(spec.strides, (info.channels()[k] for k in indices), strict=True))
        self._freeze()

    def forward(self, images: Tensor) -> Features:
        """Return the feature maps (N, C, H / stride, W / stride)."""
        maps = self.body(images)
        features = {stride: maps[index] for stride, index in self._outputs.items()}
        # Some transformers give (N, H, W, C).
        return {s: f if f.shape[1] == self.channels[s] else f.permute(0, 3, 1, 2) for s, f in features.items()}

    def frozen_parts(self) -> list[nn.Module]:
        """Return the modules that are not trained, from the input on."""
        frozen: list[nn.Module] = []
        if self.spec.frozen_stages:
            stages = _stages(self.body)
            if self.spec.frozen_stages > len(stages):
                raise InputError(f"backbone '{self.name}' has {len(stages)} stages; frozen_stages={self.spec.frozen_stages}")
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

    def load_pretrained(self) -> None:
        """Load the file `weights` of the spec, or timm's own weights from the Hub.

        Raises:
            CheckpointError: the file is missing, unreadable, or of a network that is not this one; or no network.
        """
        if self.spec.weights is not None:
            load_weights(self.body, self.spec.weights)
        elif self.spec.pretrained:
            try:
                source = timm.create_model(self.name, features_only=True, pretrained=True, out_indices=_indices(self.body))
            except Exception as error:  # whatever the Hub's client raises
                raise CheckpointError(
                    f"cannot fetch the ImageNet weights of '{self.name}': {error}. "
                    "Give a file instead: backbone={'weights': 'FILE'}, or pretrained=False"
                ) from error
            self.body.load_state_dict(source.state_dict())


def _body(name: str, strides: tuple[int, ...]) -> tuple[Any, list[int]]:
    """Return the timm model up to the last wanted map, and where in its output each stride is."""
    with torch.device("meta"):  # the shape alone, to learn which maps there are
        try:
            probe: Any = timm.create_model(name, features_only=True)
            reductions = list(probe.feature_info.reduction())
        except (RuntimeError, AttributeError) as error:
            raise InputError(f"timm's '{name}' gives no feature maps, so it cannot be a backbone: {error}") from error
    missing = [stride for stride in strides if stride not in reductions]
    if missing:
        raise InputError(f"backbone '{name}' has maps of strides {reductions}, not of {missing}")
    # The last map of each stride: where a model repeats one, the later is the deeper.
    last = {reduction: index for index, reduction in enumerate(reductions)}
    upto = last[strides[-1]] + 1
    return timm.create_model(name, features_only=True, out_indices=tuple(range(upto))), [last[s] for s in strides]


def _indices(body: Any) -> tuple[int, ...]:
    return tuple(range(len(body.feature_info.channels())))


def _stages(body: nn.Module) -> list[list[nn.Module]]:
    """Return the modules of the stem, then of each stage, by where the feature maps are taken."""
    children = dict(body.named_children())
    if "blocks" in children:  # EfficientNet and MobileNet: a stem, then numbered stages
        stem = [module for name, module in children.items() if name != "blocks"]
        return [stem, *([block] for block in children["blocks"].children())]
    stages: list[list[nn.Module]] = [[]]
    for name, module in children.items():
        if name.startswith(("layer", "stages", "blocks")):
            stages.append([module])
        else:
            stages[0].append(module)
    return stages
