"""The convolutions of a detector in the order in which a ``.weights`` file holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from zoo_core.detectors.detector import Detector
from zoo_core.detectors.one_stage import OneStage
from zoo_core.errors import InputError
from zoo_yolo.darknet.body import Darknet
from zoo_yolo.layers import ConvNormAct


@dataclass(frozen=True)
class Unit:
    """A convolution, the batch norm after it where there is one, and whether it gives detections."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d | None = None
    detects: bool = False

    @property
    def values(self) -> int:
        """How many numbers a file holds for it."""
        return self.conv.weight.numel() + self.conv.out_channels * (4 if self.norm is not None else 1)


def units(model: Detector) -> list[Unit]:
    """Return the convolutions of a detector as Darknet orders them: a map's own ones, then the one of its detections.

    Works for a detector of a ``.cfg``, and for any whose neck says with ``darknet_groups()`` which of its convolutions
    Darknet has before each detection convolution: then those of the backbone come first.

    Raises:
        InputError: a detector that Darknet has no order for.
    """
    part = model.neck if model.neck is not None else model.backbone
    groups = getattr(part, "darknet_groups", None)
    predict = getattr(model.head, "predict", None) if isinstance(model, OneStage) else None
    if groups is None or not isinstance(predict, nn.ModuleDict):
        parts = ", ".join(type(part).__name__ for part in model.children())
        raise InputError(f"Darknet knows no order of the convolutions of a detector of {parts}")
    own = [] if isinstance(part, Darknet) else [m for m in model.backbone.modules() if isinstance(m, ConvNormAct)]
    found = [Unit(module.conv, module.norm) for module in own]
    inner: Mapping[int, list[ConvNormAct]] = groups()
    for stride, modules in inner.items():
        found += [Unit(module.conv, module.norm) for module in modules]
        last = predict[str(stride)]
        if not isinstance(last, nn.Conv2d):
            raise InputError(f"the head's layer of stride {stride} is a {type(last).__name__}, which Darknet has no weights of")
        found.append(Unit(last, detects=True))
    return found
