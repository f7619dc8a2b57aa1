"""Faster R-CNN R50-FPN beside torchvision's: the same weights, in one process, in turn.

    python benchmarks/against_torchvision.py [--rounds 5] [--threads 2] [--channels-last] [--json FILE]

Two jobs: detection in one image of 800×1333, and a training step (forward, backward, SGD) on two images of 416×1344. Each
round runs both libraries on both jobs; the figure to quote is the median of the ratios round by round, which holds when the
machine's speed drifts. Memory is what the process's peak rises by during a job (Linux).

Both have frozen norm statistics, train the last three stages, and take 1000 proposals per image. Ours is set as torchvision's
is (RoIAlign with two samples per cell and without the half-pixel shift); torchvision's anchors are rounded to whole pixels.
Ours runs its convolutions with the channels innermost, as it always does; --channels-last gives that to torchvision, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from measure import peak_rise, processor
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

import zoo

CLASSES = 90  # torchvision counts the background: 91
SCORE = 0.011  # random weights give each class about 1/91; so some boxes reach the last suppression, in both
JOBS = ("detect 800x1333", "train 2 x 416x1344")


def torchvision_model() -> nn.Module:
    """Build torchvision's model as ``fasterrcnn_resnet50_fpn`` builds it for trained weights, without fetching any."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=torchvision.ops.misc.FrozenBatchNorm2d, trainable_layers=3
    )
    return FasterRCNN(
        backbone, num_classes=CLASSES + 1, min_size=800, max_size=1344, rpn_post_nms_top_n_train=1000, box_score_thresh=SCORE
    )


def our_model() -> nn.Module:
    return zoo.create(
        "faster_rcnn_r50_fpn",
        num_classes=CLASSES,
        roi_head={"roi_sampling": 2, "roi_aligned": False, "least_score": SCORE},
        preprocess={"long_side": 1344},
    )


def jobs(ours: nn.Module, theirs: nn.Module) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Return for each job the calls for ours and for theirs, with an SGD each."""
    generator = torch.Generator().manual_seed(0)
    detect = torch.randint(0, 256, (3, 800, 1333), dtype=torch.uint8, generator=generator)
    train = [torch.randint(0, 256, (3, 416, 1344), dtype=torch.uint8, generator=generator) for _ in range(2)]
    corners = torch.rand(8, 2, generator=generator) * torch.tensor([1100.0, 250.0])
    boxes = torch.cat([corners, corners + 30 + 130 * torch.rand(8, 2, generator=generator)], dim=1)
    labels = torch.arange(8)
    our_sgd, their_sgd = (torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=1e-4) for m in (ours, theirs))

    def our_detection() -> object:
        return ours.eval().predict([detect])

    @torch.inference_mode()
    def their_detection() -> object:
        return theirs.eval()([detect / 255])

    def step(losses: dict[str, Tensor], sgd: torch.optim.Optimizer) -> None:
        torch.stack(list(losses.values())).sum().backward()
        sgd.step()
        sgd.zero_grad()

    def our_step() -> None:
        step(ours.train()(train, [zoo.Targets(boxes, labels)] * 2), our_sgd)

    def their_step() -> None:
        targets = [{"boxes": boxes, "labels": labels + 1} for _ in train]
        theirs.transform.min_size = (416,)
        step(theirs.train()([image / 255 for image in train], targets), their_sgd)
        theirs.transform.min_size = (800,)

    return dict(zip(JOBS, ((our_detection, their_detection), (our_step, their_step)), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--channels-last", action="store_true", help="torchvision's weights with the channels innermost")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    theirs, ours = torchvision_model(), our_model()
    with tempfile.TemporaryDirectory() as folder:
        torch.save(theirs.state_dict(), Path(folder) / "torchvision.pth")
        zoo.load_weights(ours, Path(folder) / "torchvision.pth")
    if arguments.channels_last:
        theirs = theirs.to(memory_format=torch.channels_last)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {arguments.threads} threads, {processor()}")
    calls = jobs(ours, theirs)
    rows: dict[str, list[tuple[float, float, float, float]]] = {job: [] for job in JOBS}
    for turn in range(arguments.rounds + 1):  # the first round warms up and is not counted
        for job, (our_call, their_call) in calls.items():
            order = (our_call, their_call) if turn % 2 else (their_call, our_call)
            measured = {call: peak_rise(call) for call in order}
            row = (*measured[our_call], *measured[their_call])
            print(f"  {job}: ours {row[0]:.2f} s +{row[1]:.2f} GB, torchvision {row[2]:.2f} s +{row[3]:.2f} GB", flush=True)
            if turn:
                rows[job].append(row)
    summary = {job: summarise(measured) for job, measured in rows.items()}
    for job, figures in summary.items():
        print(f"{job}: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=2) + "\n")


def summarise(rows: list[tuple[float, float, float, float]]) -> dict[str, float]:
    ours, our_memory, theirs, their_memory = ([row[k] for row in rows] for k in range(4))
    return {
        "ours s": statistics.median(ours),
        "torchvision s": statistics.median(theirs),
        "ratio": statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        "ours GB": max(our_memory),
        "torchvision GB": max(their_memory),
    }


if __name__ == "__main__":
    main()
