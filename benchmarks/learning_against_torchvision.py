"""torchvision's Faster R-CNN, trained as `zoo-cli train faster_rcnn_mobilenetv2_fpn` trains ours: for docs/results.md.

    python benchmarks/learning_against_torchvision.py --data DIR --classes Car,Pedestrian,Cyclist --weights FILE --steps 1200

Everything around the detector is the same code: the backbone with its ImageNet weights and frozen norm statistics, the
images in their order and with their augmentation, SGD and its schedule, clipping, seed, and pycocotools at the end. The
detector (pyramid, proposals, second stage, losses, resizing) is torchvision's, with anchors and widths as in our recipe. It
has no notion of an ignore region, so it takes the unlisted objects for background.
"""

from __future__ import annotations

import argparse
import time
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from zoo_core.create import create
from zoo_core.data.augment import Augment
from zoo_core.data.batches import Batches
from zoo_core.data.loader import TrainingItems
from zoo_core.data.open import open_data
from zoo_core.data.samples import DetectionData
from zoo_core.data.specs import AugmentSpec
from zoo_core.engine.evaluate import measure
from zoo_core.engine.optim import make_optimizer, rate_at
from zoo_core.engine.specs import TrainSpec
from zoo_core.types import Detections

RECIPE = "faster_rcnn_mobilenetv2_fpn"
WIDTH = 96


class Body(nn.Module):
    """Our backbone under torchvision's pyramid."""

    def __init__(self, backbone: nn.Module, channels: list[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(channels, WIDTH, LastLevelMaxPool())
        self.out_channels = WIDTH

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.fpn(OrderedDict((str(k), v) for k, v in enumerate(self.backbone(images).values())))


def build(weights: str, classes: int) -> FasterRCNN:
    ours = create(RECIPE, num_classes=classes, backbone={"weights": weights})
    body = Body(ours.backbone, list(ours.backbone.channels.values()))
    anchors = AnchorGenerator(tuple((4 * stride,) for stride in (4, 8, 16, 32, 64)), ((0.5, 1.0, 2.0),) * 5)
    model = FasterRCNN(body, classes + 1, min_size=480, max_size=800, rpn_anchor_generator=anchors)
    model.roi_heads.box_head.fc6 = nn.Linear(WIDTH * 49, 512)
    model.roi_heads.box_head.fc7 = nn.Linear(512, 512)
    model.roi_heads.box_predictor.cls_score = nn.Linear(512, classes + 1)
    model.roi_heads.box_predictor.bbox_pred = nn.Linear(512, 4 * (classes + 1))
    return model


def train(model: FasterRCNN, data: DetectionData, spec: TrainSpec) -> None:
    items = TrainingItems(data, Augment(spec.augment))
    optimizer = make_optimizer(model, spec)
    total = spec.total_steps(len(data))
    model.train()
    start = time.perf_counter()
    for step, keys in enumerate(Batches(len(data), spec.batch_size, seed=spec.seed, start=0, stop=total)):
        torch.manual_seed(step)
        batch = [items[key] for key in keys]
        targets = [{"boxes": item.targets.boxes, "labels": item.targets.labels + 1} for item in batch]
        losses = model([item.image / 255 for item in batch], targets)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), spec.clip or float("inf"))
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, total, spec)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            print(step, f"{time.perf_counter() - start:.0f} s", {k: round(v.item(), 3) for k, v in losses.items()}, flush=True)
    print(f"{total} steps in {time.perf_counter() - start:.0f} s")


@torch.inference_mode()
def detect(model: FasterRCNN, data: DetectionData) -> list[Detections]:
    model.eval()
    found = [model([sample.image() / 255])[0] for sample in data]
    return [Detections(f["boxes"], f["scores"], f["labels"] - 1) for f in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--classes", required=True)
    parser.add_argument("--weights", required=True, help="ImageNet weights of MobileNetV2")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--scale", default="0.7,1.5", help="range of the zoom")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    low, high = map(float, arguments.scale.split(","))
    spec = TrainSpec(
        steps=arguments.steps,
        learning_rate=arguments.lr,
        seed=arguments.seed,
        schedule="cosine",
        warmup_steps=50,
        clip=10,
        augment=AugmentSpec(scale=(low, high), photometric=0.5),
    )
    classes = tuple(arguments.classes.split(","))
    torch.manual_seed(arguments.seed)
    model = build(arguments.weights, len(classes))
    train(model, open_data(arguments.data, "train", classes=classes), spec)
    data = open_data(arguments.data, "val", classes=classes)
    result = measure(data, detect(model, data))
    print({name: value and round(value, 4) for name, value in result.metrics.items()})
    for row in result.per_class:
        print(row)


if __name__ == "__main__":
    main()
