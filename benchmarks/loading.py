"""Loading Faster R-CNN R101-FPN from disk: ours, beside torchvision's way and beside what cannot be less.

    python benchmarks/loading.py [--rounds 5] [--threads 2] [--json FILE]

Each job runs in a process of its own, in turn, all of them in each round; the file is in the system's cache. In a process a
job is done twice: the first time is what a program that starts sees once all is imported, the second what each more costs.

    read        safetensors reads the file: each tensor into memory of its own
    build       the network, with parameters that are not filled
    ours        zoo.load of the saved folder
    torchvision its constructor, torch.load of a .pth file, load_state_dict
    mapped      the same with torch.load(mmap=True)

The figures to look at: ours / (1.5 × read + build), which shall be below 1; ours / torchvision; and by how many times the size
of the file the peak of the memory rises.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from measure import peak_rise, processor
from safetensors import safe_open
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

import zoo
from zoo_core.build import build
from zoo_core.recipes import resolve
from zoo_core.uninitialised import Uninitialised

RECIPE = "faster_rcnn_r101_fpn"
SAVED = "saved"
THEIRS = "torchvision.pth"


def theirs() -> nn.Module:
    return FasterRCNN(resnet_fpn_backbone(backbone_name="resnet101", weights=None, trainable_layers=3), num_classes=81)


def read(folder: Path) -> object:
    with safe_open(folder / SAVED / "model.safetensors", framework="pt", backend="pread") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def build_alone(folder: Path) -> object:  # noqa: ARG001
    with Uninitialised():
        return build(resolve(RECIPE))


def ours(folder: Path) -> object:
    return zoo.load(folder / SAVED)


def torchvision_load(folder: Path, *, mmap: bool = False) -> object:
    model = theirs()
    model.load_state_dict(torch.load(folder / THEIRS, weights_only=True, mmap=mmap))
    return model.eval()


JOBS: dict[str, Callable[[Path], object]] = {
    "read": read,
    "build": build_alone,
    "ours": ours,
    "torchvision": torchvision_load,
    "mapped": lambda folder: torchvision_load(folder, mmap=True),
}


def work(job: str, folder: Path, threads: int) -> None:
    """Do a job twice, and print what it took."""
    torch.set_num_threads(threads)
    measured = [peak_rise(lambda: JOBS[job](folder)) for _ in range(2)]
    print(json.dumps({"first": measured[0][0], "second": measured[1][0], "GB": measured[0][1]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--work", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.folder, arguments.threads)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        zoo.save(zoo.create(RECIPE), folder / SAVED)
        torch.save(theirs().state_dict(), folder / THEIRS)
        size = (folder / SAVED / "model.safetensors").stat().st_size / 2**30
        print(f"torch {torch.__version__}, {arguments.threads} threads, {processor()}; the file has {size:.3f} GB")
        rounds = [{job: measured(job, folder, arguments.threads) for job in JOBS} for _ in range(arguments.rounds)]
    summary = {job: {key: statistics.median(turn[job][key] for turn in rounds) for key in rounds[0][job]} for job in JOBS}
    for job, figures in summary.items():
        times = f"first {figures['first']:.3f} s, second {figures['second']:.3f} s"
        print(f"{job:<12} {times}, memory +{figures['GB']:.3f} GB ({figures['GB'] / size:.2f} × the file)")
    for time in ("first", "second"):
        bound = statistics.median(turn["ours"][time] / (1.5 * turn["read"][time] + turn["build"][time]) for turn in rounds)
        ratio = statistics.median(turn["ours"][time] / turn["torchvision"][time] for turn in rounds)
        print(f"{time}: ours / (1.5 × read + build) {bound:.2f}, ours / torchvision {ratio:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=2) + "\n")


def measured(job: str, folder: Path, threads: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", job, "--folder", str(folder), "--threads", str(threads)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


if __name__ == "__main__":
    main()
