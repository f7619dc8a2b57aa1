"""Building a network whose values come from a file: no time is spent on first values that nobody will see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

FILLS = frozenset(
    (
        *(Tensor.normal_, Tensor.uniform_, Tensor.bernoulli_, Tensor.exponential_, Tensor.erfinv_),
        *(Tensor.zero_, Tensor.fill_, Tensor.copy_, Tensor.add_, Tensor.mul_, Tensor.clamp_),
    )
)


class Uninitialised(TorchFunctionMode):
    """In a ``with`` block, parameters are made but not filled: their memory is not touched, and holds anything.

    All of them must get values afterwards. Buffers are made as ever, since those that are not saved come from nowhere else.
    Other threads are not concerned.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Leave out what would fill a parameter in place; do all else."""
        options = dict(kwargs or {})
        target = args[0] if args else options.get("tensor")
        if isinstance(target, nn.Parameter):
            if func in FILLS or getattr(func, "__module__", "") == "torch.nn.init":
                return target
            if func is Tensor.to and options.keys() == {"memory_format"} and not any(args[1:]):  # another layout alone
                return torch.empty_like(target, **options)
        return func(*args, **options)
