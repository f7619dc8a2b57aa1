"""A feature pyramid in which each map is added to the one above it with learned weights.

The weights are those of "EfficientDet: Scalable and Efficient Object Detection" (Tan, Pang and Le, 2020), section 3.3, fast
normalised fusion, on the top-down path of a feature pyramid network.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from zoo_core.errors import InputError
from zoo_core.interfaces import Neck
from zoo_core.types import Channels, Features
from zoo_sum_neck.specs import WeightedSumSpec


class WeightedSum(Neck):
    """1×1 convolutions to one width, then from the top down ``(a · fine + b · coarse) / (a + b)`` with a, b ≥ 0 learned.

    Strides beyond the backbone's are the map before, pooled by two.
    """

    def __init__(self, spec: WeightedSumSpec, channels: Channels) -> None:
        super().__init__()
        inputs = [stride for stride in spec.strides if stride in channels]
        if not inputs or inputs != list(spec.strides[: len(inputs)]):
            raise InputError(f"neck 'weighted_sum' gives strides {list(spec.strides)}, the backbone has {list(channels)}")
        self.lateral = nn.ModuleDict({str(stride): nn.Conv2d(channels[stride], spec.width, 1) for stride in inputs})
        self.weights = nn.Parameter(torch.ones(len(inputs) - 1, 2))
        self.extra = [stride for stride in spec.strides if stride not in channels]
        self.channels = dict.fromkeys(spec.strides, spec.width)

    def forward(self, features: Features) -> Features:
        """Return a map (N, width, H / stride, W / stride) for each stride."""
        pyramid = {int(stride): lateral(features[int(stride)]) for stride, lateral in self.lateral.items()}
        shares = self.weights.relu() / (self.weights.relu().sum(dim=1, keepdim=True) + 1e-4)  # (levels - 1, 2)
        steps = list(zip(pairwise(pyramid), shares, strict=True))
        for (fine, coarse), (own, other) in reversed(steps):
            above = F.interpolate(pyramid[coarse], size=pyramid[fine].shape[-2:], mode="nearest")
            pyramid[fine] = own * pyramid[fine] + other * above
        for stride in self.extra:
            pyramid[stride] = F.max_pool2d(pyramid[stride // 2], 1, stride=2)
        return pyramid
