"""Which images make up which batch: a pure function of the seed and the number of the batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

from zoo_core.errors import InputError

_SEEDS = 2**62


class Batches(Sampler[list[tuple[int, int]]]):
    """A stretch of the endless stream of batches of (image, seed of its augmentation).

    Each epoch holds every image once, in an order of its own; batches run on from one epoch into the next, so all are full.
    Batch k is the same whether the stream was begun at 0 or at k.

    Attributes:
        batch_size: images in a batch.
        drop_last: always False; accelerate looks for it.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int, start: int, stop: int) -> None:
        if count < 1 or batch_size < 1 or seed < 0 or not 0 <= start <= stop:
            raise InputError(f"no batches {start} … {stop} of {batch_size} can be made of {count} images with seed {seed}")
        self.batch_size = batch_size
        self.drop_last = False
        self._count, self._seed, self._start, self._stop = count, seed, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        items = self._items(self._start * self.batch_size)
        for _ in range(len(self)):
            yield [next(items) for _ in range(self.batch_size)]

    def _items(self, first: int) -> Iterator[tuple[int, int]]:
        epoch, done = divmod(first, self._count)
        while True:
            yield from self._epoch(epoch)[done:]
            epoch, done = epoch + 1, 0

    def _epoch(self, epoch: int) -> list[tuple[int, int]]:
        state = np.random.SeedSequence((self._seed, epoch)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]) % _SEEDS)
        order = torch.randperm(self._count, generator=generator)
        seeds = torch.randint(_SEEDS, (self._count,), generator=generator)
        return list(zip(order.tolist(), seeds.tolist(), strict=True))
