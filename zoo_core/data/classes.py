"""A data set with some of its classes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from zoo_core.data.format import chosen_classes
from zoo_core.data.samples import DetectionData, Sample, SampleTable
from zoo_core.types import ANY_LABEL, Targets


def restrict(data: DetectionData, classes: Sequence[str]) -> DetectionData:
    """Return `data` with `classes` alone, in that order; objects and regions of others become regions ignored for every class.

    The numbers of the classes in the data's own files stay.

    Raises:
        DataError: a class that the data does not have.
    """
    names = chosen_classes(classes, data.class_names, data.name)
    old = [data.class_names.index(name) for name in names]
    new = torch.full((len(data.class_names) + 1,), ANY_LABEL)  # its last place is that of ANY_LABEL
    new[old] = torch.arange(len(names))
    changed = (_relabelled(sample, new) for sample in data)
    drawn = any(sample.draw is not None for sample in data)  # a table holds files alone
    samples = tuple(changed) if drawn else SampleTable(changed)
    return replace(data, class_names=names, samples=samples, category_ids=tuple(data.category_ids[label] for label in old))


def _relabelled(sample: Sample, new: Tensor) -> Sample:
    targets, labels = sample.targets, new[sample.targets.labels]
    stay = labels != ANY_LABEL
    changed = Targets(
        targets.boxes[stay],
        labels[stay],
        torch.cat([targets.ignored, targets.boxes[~stay]]),
        torch.cat([new[targets.ignored_labels], labels[~stay]]),
    )
    return replace(sample, targets=changed, areas=None if sample.areas is None else sample.areas[stay])
