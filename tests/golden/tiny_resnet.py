"""ResNet-50 an eighth as wide, which timm does not make: a backbone from outside, as a stranger's plugin would bring it."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from typing_extensions import Self

from zoo_core.interfaces import Backbone
from zoo_core.specs import ComponentSpec
from zoo_core.types import Features

DEPTHS = (3, 4, 6, 3)


class TinyResNetSpec(ComponentSpec):
    """A narrow ResNet-50."""

    type: str = "tiny_resnet50"
    base: int = 8


class TinyResNet(Backbone):
    """Stem and first stage are frozen, and so are all norm statistics."""

    def __init__(self, spec: TinyResNetSpec) -> None:
        super().__init__()
        base = spec.base
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(base),
            relu=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        incoming = base
        for stage, depth in enumerate(DEPTHS):
            width, blocks = base * 2**stage, []
            for block in range(depth):
                stride = 2 if stage and not block else 1
                shortcut = None
                if not block:
                    convolution = nn.Conv2d(incoming, 4 * width, 1, stride=stride, bias=False)
                    shortcut = nn.Sequential(convolution, nn.BatchNorm2d(4 * width))
                blocks.append(Bottleneck(incoming, width, stride, shortcut))
                incoming = 4 * width
            parts[f"layer{stage + 1}"] = nn.Sequential(*blocks)
        self.body = nn.Sequential(parts)
        self.channels = {4 * 2**stage: 4 * base * 2**stage for stage in range(4)}
        self.body[:5].requires_grad_(False)

    def forward(self, images: Tensor) -> Features:
        features, hidden = {}, self.body[:4](images)
        for stride, stage in zip(self.channels, self.body[4:], strict=True):
            hidden = features[stride] = stage(hidden)
        return features

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self
