"""Detectron2's Faster R-CNN with FPN as its documentation has it, plain and slow: the judge of what is imported.

Written from the settings of ``Base-RCNN-FPN`` and the papers, with torchvision's operations and nothing of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align

Weights = dict[str, Tensor]
Found = tuple[Tensor, Tensor, Tensor]
LIMIT = math.log(1000.0 / 16)
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


@dataclass(frozen=True)
class Settings:
    """Of a configuration: PIXEL_MEAN, PIXEL_STD, INPUT.FORMAT, STRIDE_IN_1X1, RESNETS.DEPTH."""

    mean: tuple[float, ...] = (103.530, 116.280, 123.675)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    order: str = "BGR"
    stride_in_1x1: bool = True
    depth: int = 50


@torch.no_grad()
def detect(weights: Weights, pixels: Tensor, original: tuple[int, int], settings: Settings) -> Found:
    """Return boxes (N, 4), scores (N,) and classes (N,), best first.

    `pixels` (3, H, W) are those of `resize_shortest_edge`; the boxes are in an image of the `original` height and width.
    """
    height, width = original
    size = (pixels.shape[1], pixels.shape[2])
    pyramid = fpn(weights, resnet(weights, normalised(pixels, settings), settings))
    boxes, scores, classes = box_head(weights, pyramid, proposals(weights, pyramid, size), size)
    boxes = boxes * torch.tensor([width / size[1], height / size[0]] * 2)
    boxes = clip_boxes_to_image(boxes, (height, width))
    keep = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)
    return boxes[keep], scores[keep], classes[keep]


def normalised(pixels: Tensor, settings: Settings) -> Tensor:
    """Return a batch (1, 3, H, W) of one image (3, H, W) in RGB, padded to multiples of 32."""
    pixels = pixels if settings.order == "RGB" else pixels[[2, 1, 0]]
    pixels = (pixels - torch.tensor(settings.mean).view(3, 1, 1)) / torch.tensor(settings.std).view(3, 1, 1)
    return functional.pad(pixels, (0, -pixels.shape[2] % 32, 0, -pixels.shape[1] % 32))[None]


def resize_shortest_edge(image: Tensor, short: int = 800, longest: int = 1333) -> Tensor:
    height, width = image.shape[1:]
    scale = short / min(height, width)
    new_height, new_width = (short, scale * width) if height < width else (scale * height, short)
    if max(new_height, new_width) > longest:
        scale = longest / max(new_height, new_width)
        new_height, new_width = new_height * scale, new_width * scale
    target = int(new_width + 0.5), int(new_height + 0.5)
    picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(target, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()


def normed(weights: Weights, name: str, x: Tensor) -> Tensor:
    scale = weights[f"{name}.weight"] * (weights[f"{name}.running_var"] + 1e-5).rsqrt()
    shift = weights[f"{name}.bias"] - weights[f"{name}.running_mean"] * scale
    return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def convolved(weights: Weights, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return functional.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride, padding)


def normal_convolved(weights: Weights, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return normed(weights, f"{name}.norm", convolved(weights, name, x, stride, padding))


def resnet(weights: Weights, x: Tensor, settings: Settings) -> dict[int, Tensor]:
    x = normal_convolved(weights, "backbone.bottom_up.stem.conv1", x, 2, 3).relu()
    x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    maps = {}
    for stage, count in zip((2, 3, 4, 5), BLOCKS[settings.depth], strict=True):
        for block in range(count):
            name = f"backbone.bottom_up.res{stage}.{block}"
            stride = 2 if stage > 2 and block == 0 else 1
            first, second = (stride, 1) if settings.stride_in_1x1 else (1, stride)
            inner = normal_convolved(weights, f"{name}.conv1", x, first).relu()
            inner = normal_convolved(weights, f"{name}.conv2", inner, second, 1).relu()
            inner = normal_convolved(weights, f"{name}.conv3", inner)
            shortcut = normal_convolved(weights, f"{name}.shortcut", x, stride) if block == 0 else x
            x = (inner + shortcut).relu()
        maps[stage] = x
    return maps


def fpn(weights: Weights, maps: dict[int, Tensor]) -> dict[int, Tensor]:
    top, found = None, {}
    for level in (5, 4, 3, 2):
        lateral = convolved(weights, f"backbone.fpn_lateral{level}", maps[level])
        top = lateral if top is None else lateral + functional.interpolate(top, scale_factor=2.0, mode="nearest")
        found[level] = convolved(weights, f"backbone.fpn_output{level}", top, padding=1)
    found[6] = functional.max_pool2d(found[5], kernel_size=1, stride=2, padding=0)
    return {level: found[level] for level in (2, 3, 4, 5, 6)}


def anchors(side: float, stride: int, height: int, width: int) -> Tensor:
    """Return the anchors of all cells: cell by cell, row by row, the ratios innermost; centres at the corners of cells."""
    found = []
    for y in range(height):
        for x in range(width):
            for ratio in (0.5, 1.0, 2.0):
                w = math.sqrt(side * side / ratio)
                h = ratio * w
                found.append((x * stride - w / 2, y * stride - h / 2, x * stride + w / 2, y * stride + h / 2))
    return torch.tensor(found)


def applied(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Return boxes moved by deltas; only growth is bounded."""
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x, y = boxes[:, 0] + 0.5 * widths, boxes[:, 1] + 0.5 * heights
    dx, dy, dw, dh = (deltas[:, k] / weights[k] for k in range(4))
    x, y = dx * widths + x, dy * heights + y
    widths, heights = dw.clamp(max=LIMIT).exp() * widths, dh.clamp(max=LIMIT).exp() * heights
    return torch.stack([x - 0.5 * widths, y - 0.5 * heights, x + 0.5 * widths, y + 0.5 * heights], dim=1)


def proposals(weights: Weights, pyramid: dict[int, Tensor], size: tuple[int, int]) -> Tensor:
    head = "proposal_generator.rpn_head"
    boxes, logits, levels = [], [], []
    for level, map_ in pyramid.items():
        hidden = convolved(weights, f"{head}.conv", map_, padding=1).relu()
        scores = convolved(weights, f"{head}.objectness_logits", hidden)[0].permute(1, 2, 0).flatten()
        deltas = convolved(weights, f"{head}.anchor_deltas", hidden)[0]  # (A * 4, H, W)
        deltas = deltas.view(-1, 4, *deltas.shape[1:]).permute(2, 3, 0, 1).reshape(-1, 4)
        moved = applied(deltas, anchors(8.0 * 2**level, 2**level, *map_.shape[-2:]), (1.0, 1.0, 1.0, 1.0))
        best = scores.sort(descending=True).indices[:1000]
        boxes.append(moved[best])
        logits.append(scores[best])
        levels.append(torch.full((len(best),), level))
    every, score, level_of = clip_boxes_to_image(torch.cat(boxes), size), torch.cat(logits), torch.cat(levels)
    keep = ((every[:, 2:] - every[:, :2]) > 0).all(dim=1)
    every, score, level_of = every[keep], score[keep], level_of[keep]
    return every[batched_nms(every, score, level_of, 0.7)[:1000]]


def box_head(weights: Weights, pyramid: dict[int, Tensor], boxes: Tensor, size: tuple[int, int]) -> Found:
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    levels = torch.floor(4 + torch.log2(areas.sqrt() / 224 + 1e-8)).clamp(2, 5).long()
    pooled = torch.zeros(len(boxes), pyramid[2].shape[1], 7, 7)
    for level in (2, 3, 4, 5):
        rows = levels == level
        pooled[rows] = roi_align(pyramid[level], [boxes[rows]], 7, 1 / 2**level, 0, aligned=True)
    x = pooled.flatten(1)
    for name in ("roi_heads.box_head.fc1", "roi_heads.box_head.fc2"):
        x = functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"]).relu()
    part = "roi_heads.box_predictor"
    scores = functional.linear(x, weights[f"{part}.cls_score.weight"], weights[f"{part}.cls_score.bias"]).softmax(dim=1)
    deltas = functional.linear(x, weights[f"{part}.bbox_pred.weight"], weights[f"{part}.bbox_pred.bias"])
    rows, classes = (scores[:, :-1] > 0.05).nonzero(as_tuple=True)
    moved = applied(deltas.view(len(boxes), -1, 4)[rows, classes], boxes[rows], (10.0, 10.0, 5.0, 5.0))
    moved, chosen = clip_boxes_to_image(moved, size), scores[rows, classes]
    keep = batched_nms(moved, chosen, classes, 0.5)[:100]
    return moved[keep], chosen[keep], classes[keep]
