"""The embedded data set: scenes that are drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from zoo_core.data.format import DataFormat, chosen_classes
from zoo_core.data.samples import DetectionData, Sample, Skipped
from zoo_core.data.scene import CLASSES, Scene, compose
from zoo_core.data.specs import ToySpec
from zoo_core.types import ANY_LABEL, Targets


class Toy(DataFormat):
    """Circles, squares and triangles; the same pictures on every machine, for every run."""

    looks_for = "the word toy in place of a folder"

    def __init__(self, spec: ToySpec) -> None:
        self.spec = spec

    def recognises(self, path: str | Path) -> bool:
        """Return whether `path` is the word "toy"; a folder of that name is written "./toy"."""
        return path == "toy"

    def splits(self, path: str | Path) -> list[str]:  # noqa: ARG002  there is only one such set
        """Return the names of the splits."""
        return ["train", "val"]

    def read(self, path: str | Path, split: str, classes: Sequence[str] | None, skipped: Skipped) -> DetectionData:
        """Return a split. Shapes of classes that are not chosen become ignore regions."""
        names = chosen_classes(classes, CLASSES, path)
        count = self.spec.train if split == "train" else self.spec.val
        samples = tuple(_sample(compose(f"toy/{self.spec.seed}/{split}/{k}"), k + 1, names) for k in range(count))
        return DetectionData(names, samples, tuple(range(1, len(names) + 1)), str(path), split, "toy", skipped)


def _sample(scene: Scene, number: int, names: Sequence[str]) -> Sample:
    targets = scene.targets()
    labels = torch.tensor([names.index(name) if name in names else ANY_LABEL for name in CLASSES])[targets.labels]
    chosen = labels != ANY_LABEL
    targets = Targets(targets.boxes[chosen], labels[chosen], targets.boxes[~chosen], labels[~chosen])
    return Sample(number, scene.size, targets, draw=scene.draw)
