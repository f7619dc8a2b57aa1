"""The feature pyramid network (Lin et al., "Feature Pyramid Networks for Object Detection", 2017, section 3)."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn import functional as F

from zoo_core.errors import InputError
from zoo_core.interfaces import Neck
from zoo_core.types import Channels, Features
from zoo_fpn.specs import FPNSpec


class FPN(Neck):
    """1×1 laterals, nearest upsampling to the exact size and a sum from the top down, a 3×3 convolution on each map.

    Strides beyond the backbone's are the map before, subsampled by two (footnote 2 of the paper).
    """

    def __init__(self, spec: FPNSpec, channels: Channels) -> None:
        super().__init__()
        inputs = [stride for stride in spec.strides if stride in channels]
        if not inputs or inputs != list(spec.strides[: len(inputs)]):
            found = f"neck 'fpn' gives strides {list(spec.strides)}, but the backbone has only {list(channels)}"
            raise InputError(f"{found}; give it others, the first of them the backbone's (neck.strides)")
        self.lateral = nn.ModuleDict({str(s): nn.Conv2d(channels[s], spec.width, 1) for s in inputs})
        self.output = nn.ModuleDict({str(s): nn.Conv2d(spec.width, spec.width, 3, padding=1) for s in inputs})
        self.extra = [stride for stride in spec.strides if stride not in channels]
        self.channels = dict.fromkeys(spec.strides, spec.width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: Features) -> Features:
        """Return a map (N, width, H / stride, W / stride) for each stride."""
        merged = {int(stride): lateral(features[int(stride)]) for stride, lateral in self.lateral.items()}
        strides = list(merged)
        for fine, coarse in reversed(list(pairwise(strides))):
            merged[fine] = merged[fine] + F.interpolate(merged[coarse], size=merged[fine].shape[-2:], mode="nearest")
        pyramid = {stride: self.output[str(stride)](merged[stride]) for stride in strides}
        for stride in self.extra:
            pyramid[stride] = F.max_pool2d(pyramid[stride // 2], 1, stride=2)
        return pyramid
