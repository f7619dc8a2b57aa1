"""The one layer that all YOLO networks are made of: convolution, batch norm, activation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_core.errors import InputError, nearest
from zoo_yolo.specs import LayerSpec


def _logistic(x: Tensor, inplace: bool) -> Tensor:
    return x.sigmoid_() if inplace else x.sigmoid()


ACTIVATIONS: dict[str, Callable[[Tensor, bool], Tensor]] = {
    "silu": lambda x, inplace: F.silu(x, inplace=inplace),
    "swish": lambda x, inplace: F.silu(x, inplace=inplace),  # Darknet's word for it
    "mish": lambda x, inplace: F.mish(x, inplace=inplace),
    "leaky": lambda x, inplace: F.leaky_relu(x, 0.1, inplace=inplace),
    "relu": lambda x, inplace: F.relu(x, inplace=inplace),
    "logistic": _logistic,
    "linear": lambda x, inplace: x,  # noqa: ARG005
}
"""Activations by name: ``(x, inplace) -> x``."""
OF_RESULT = frozenset({"leaky", "relu", "logistic", "linear"})
"""Those whose gradient follows from their result: in place they save memory in training, too."""


class ConvNormAct(nn.Module):
    """Convolution, batch norm, activation; without `norm` a convolution with bias, and the activation.

    In evaluation without gradient the norm is folded into the weights on each call, so that no pass over the map is spent
    on it. The weights themselves stay as they are: there is nothing that could go stale.

    Attributes:
        conv: the convolution.
        norm: the batch norm, or None.
        act: the name of the activation, one of `ACTIVATIONS`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        padding: int | None = None,
        norm: bool = True,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        act: str = "silu",
    ) -> None:
        """`padding` is by default half the kernel, so that the map keeps its size but for the stride."""
        super().__init__()
        if act not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise InputError(f"no activation named '{act}'{nearest(act, ACTIVATIONS) or f'; there are {known}'}")
        pad = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, pad, groups=groups, bias=not norm)
        self.norm = nn.BatchNorm2d(out_channels, norm_eps, norm_momentum) if norm else None
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (N, out_channels, H / stride, W / stride)."""
        graded = torch.is_grad_enabled()
        if self.norm is None:
            x = self.conv(x)
        elif graded or self.norm.training or not self._pays(x):
            x = self.norm(self.conv(x))
        else:
            x = self._folded(x, self.norm)
        return ACTIVATIONS[self.act](x, not graded or self.act in OF_RESULT)

    def _pays(self, x: Tensor) -> bool:
        """Return whether the map has more values than the weights: else a pass over the map is the cheaper one."""
        positions = x.shape[0] * x.shape[2] * x.shape[3] // (self.conv.stride[0] * self.conv.stride[1])
        return positions > self.conv.weight[0].numel()

    def _folded(self, x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        conv, weight = self.conv, self.conv.weight
        mean, variance = norm.get_buffer("running_mean").float(), norm.get_buffer("running_var").float()
        scale = norm.weight.float() * torch.rsqrt(variance + norm.eps)  # (out_channels,)
        bias = torch.addcmul(norm.bias.float(), mean, scale, value=-1).to(weight.dtype)
        weight = (weight * scale.view(-1, 1, 1, 1)).to(weight.dtype)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)

    def extra_repr(self) -> str:
        """Return the activation for the printed form."""
        return f"act={self.act!r}"


def layer_of(spec: LayerSpec) -> Callable[..., ConvNormAct]:
    """Return `ConvNormAct` with the activation and the norm that all layers of a part share."""
    return partial(ConvNormAct, act=spec.activation, norm_eps=spec.norm_eps, norm_momentum=spec.norm_momentum)
