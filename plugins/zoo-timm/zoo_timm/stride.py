"""The two forms of ResNet with bottlenecks: the stride on the 3x3 convolution, or on the 1x1 before it."""

from __future__ import annotations

from timm.models.resnet import Bottleneck
from torch import nn

from zoo_core.errors import InputError


def move_stride_first(body: nn.Module, name: str) -> None:
    """Move the stride of each bottleneck from its 3x3 convolution, where timm has it, to its first, as He et al. had it.

    The weights fit both forms, but were trained for one. What comes out has the same size.

    Raises:
        InputError: a model that has no bottlenecks of timm's ResNet, or has its strides in pooling layers.
    """
    blocks = [module for module in body.modules() if isinstance(module, Bottleneck)]
    reason = "has no bottlenecks of a ResNet" if not blocks else "has its strides in pooling layers"
    if not blocks or any(not isinstance(block.aa, nn.Identity) for block in blocks):
        raise InputError(f"backbone '{name}' {reason}, so its stride cannot be moved; leave out stride_first")
    for block in blocks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
