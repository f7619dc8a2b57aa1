"""From samples to batches, in the workers: load, augment, preprocess."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo_core.data.augment import Augment
from zoo_core.data.batches import Batches
from zoo_core.data.mosaic import Mosaic, Plan
from zoo_core.data.samples import DetectionData
from zoo_core.data.specs import AugmentSpec
from zoo_core.errors import DataError
from zoo_core.interfaces import Preprocess
from zoo_core.types import ImageBatch, Targets


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    """What a worker hands over: a batch, or the error that kept it from making one.

    An error travels as a value, since one that is raised in a worker would arrive with the worker's traceback as its text.

    Attributes:
        indices: the index of each image in the data; of a mosaic, that of the image it was made for.
        skipped: for each image that could not be loaded, and that another stands in for, the error as text.
    """

    _batch: ImageBatch | DataError
    indices: tuple[int, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def batch(self) -> ImageBatch:
        """The batch; asking for it raises the `DataError` of an image that could not be loaded."""
        if isinstance(self._batch, DataError):
            raise self._batch
        return self._batch

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LoadedBatch:
        """Return the same with the batch on `device`."""
        if isinstance(self._batch, DataError):
            return self
        return replace(self, _batch=self._batch.to(device, non_blocking))

    def pin_memory(self) -> LoadedBatch:
        """Return the same with the images in page-locked memory, which are copied to a GPU without waiting."""
        if isinstance(self._batch, DataError):
            return self
        return replace(self, _batch=replace(self._batch, tensor=self._batch.tensor.pin_memory()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the targets as arrays: a tensor takes an open file on its way out of a worker, and there are many of them."""
        if isinstance(self._batch, DataError) or self._batch.targets is None:
            return LoadedBatch, (self._batch, self.indices, self.skipped)
        arrays = [
            tuple(t.numpy(force=True) for t in (target.boxes, target.labels, target.ignored, target.ignored_labels))
            for target in self._batch.targets
        ]
        return _received, (replace(self._batch, targets=None), arrays, self.indices, self.skipped)


def _received(
    batch: ImageBatch, arrays: list[tuple[Any, ...]], indices: tuple[int, ...], skipped: tuple[str, ...]
) -> LoadedBatch:
    targets = tuple(Targets(*(torch.from_numpy(array) for array in target)) for target in arrays)
    return LoadedBatch(replace(batch, targets=targets), indices, skipped)


@dataclass(frozen=True, slots=True)
class Item:
    """An image on its way into a batch."""

    index: int
    image: Tensor
    targets: Targets
    name: str
    skipped: tuple[str, ...] = ()


class TrainingItems(Dataset["Item | DataError"]):
    """Loads and augments images, one alone or several as a mosaic. An item is a function of (index, seed)."""

    def __init__(
        self,
        data: DetectionData,
        augment: Augment | None = None,
        mosaic: Mosaic | None = None,
        *,
        skip_bad: bool = False,
    ) -> None:
        self._data, self._augment, self._mosaic, self._skip_bad = data, augment, mosaic, skip_bad

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, key: tuple[int, int]) -> Item | DataError:
        """Return the image of ``(index, seed)``; with `skip_bad`, the next one that can be loaded in place of a bad one."""
        index, seed = key
        try:
            plan = None if self._mosaic is None else self._mosaic.plan(index, len(self._data), seed)
            if self._mosaic is None or plan is None:
                return self._alone(index, seed)
            return self._composed(self._mosaic, plan, index, seed)
        except DataError as error:
            return error

    def _alone(self, index: int, seed: int) -> Item:
        item = self._loaded(index)
        if self._augment is None:
            return item
        image, targets = self._augment(item.image, item.targets, seed)
        return replace(item, image=image, targets=targets)

    def _composed(self, mosaic: Mosaic, plan: Plan, index: int, seed: int) -> Item:
        parts = [self._loaded(part) for part in plan.indices]
        image, targets = mosaic.compose(plan, [(part.image, part.targets) for part in parts])
        if self._augment is not None:
            image, targets = self._augment.in_place()(image, targets, seed)
        skipped = tuple(text for part in parts for text in part.skipped)
        return Item(index, image, targets, " + ".join(part.name for part in parts), skipped)

    def _loaded(self, index: int) -> Item:
        """Return an image as it is; with `skip_bad`, the next one that can be loaded in place of a bad one.

        Raises:
            DataError: it cannot be loaded, and no other one may or can stand in.
        """
        skipped: list[str] = []
        for _ in range(len(self._data)):
            sample = self._data[index]
            try:
                return Item(index, sample.image(), sample.targets, sample.name, tuple(skipped))
            except DataError as error:
                if not self._skip_bad:
                    raise
                skipped.append(str(error))
            index = (index + 1) % len(self._data)
        raise DataError(f"not one of the {len(self._data)} images can be loaded; the first error: {skipped[0]}")


def training_loader(
    data: DetectionData,
    preprocess: Preprocess,
    *,
    batch_size: int,
    steps: int,
    start_step: int = 0,
    seed: int = 0,
    augment: AugmentSpec | None = None,
    workers: int = 0,
    skip_bad: bool = False,
    pin_memory: bool = False,
) -> DataLoader[LoadedBatch]:
    """Return a loader of the batches `start_step` … `steps` - 1 of a run, each a `LoadedBatch` with targets.

    Batch k is a function of `seed` and k alone: neither the number of workers nor a resumption changes it, and the random
    state of the process is neither used nor changed. For several processes, count the steps of all of them together.

    Args:
        data: the images.
        preprocess: makes the batch, in the worker.
        batch_size: images in a batch; every batch is full.
        steps: number of batches of the whole run.
        start_step: number of batches that are done already.
        seed: decides on the order and on the augmentation.
        augment: what is done to each image at random; None leaves them as they are. Mosaics are of the size
            ``preprocess.frame``.
        workers: processes that load; 0 loads in this one.
        skip_bad: put the next image in the place of one that cannot be loaded, and say so in `LoadedBatch.skipped`.
        pin_memory: for a GPU.
    """
    mosaic = Mosaic(augment, preprocess.frame) if augment is not None and augment.mosaic else None
    return DataLoader(
        TrainingItems(data, augment and Augment(augment), mosaic, skip_bad=skip_bad),  # type: ignore[arg-type]
        batch_sampler=Batches(len(data), batch_size, seed=seed, start=start_step, stop=steps),
        collate_fn=partial(_collate, preprocess, True),
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # the loader draws a number for its workers; not from the state of the process
    )


def evaluation_loader(
    data: DetectionData,
    preprocess: Preprocess,
    *,
    batch_size: int,
    workers: int = 0,
    indices: Sequence[int] | None = None,
    pin_memory: bool = False,
) -> Iterator[tuple[ImageBatch, list[int]]]:
    """Yield (batch without targets, indices of its images in `data`), in order.

    Args:
        data: the images.
        preprocess: makes the batch, in the worker.
        batch_size: images in a batch; the last one may be smaller.
        workers: processes that load; 0 loads in this one.
        indices: of the images to yield; by default all. With several processes each takes its own.
        pin_memory: for a GPU.

    Raises:
        DataError: an image that cannot be loaded.
    """
    keys = [(index, 0) for index in (range(len(data)) if indices is None else indices)]
    loader = DataLoader(
        TrainingItems(data),
        batch_sampler=[keys[k : k + batch_size] for k in range(0, len(keys), batch_size)],
        collate_fn=partial(_collate, preprocess, False),
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),
    )
    for loaded in loader:
        yield loaded.batch, list(loaded.indices)


def _collate(preprocess: Preprocess, with_targets: bool, items: Sequence[Item | DataError]) -> LoadedBatch:
    good: list[Item] = []
    for item in items:
        if isinstance(item, DataError):
            return LoadedBatch(item)
        good.append(item)
    batch = preprocess(
        [item.image for item in good],
        [item.targets for item in good] if with_targets else None,
        [item.name for item in good],
    )
    skipped = tuple(text for item in good for text in item.skipped)
    return LoadedBatch(batch, tuple(item.index for item in good), skipped)
