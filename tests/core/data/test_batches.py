from __future__ import annotations

from itertools import chain

import pytest

from zoo_core.data.batches import Batches
from zoo_core.errors import InputError


def batches(count: int = 10, size: int = 4, seed: int = 0, start: int = 0, stop: int = 20) -> list[list[tuple[int, int]]]:
    return list(Batches(count, size, seed=seed, start=start, stop=stop))


def test_each_epoch_holds_every_image_once() -> None:
    stream = list(chain.from_iterable(batches()))
    assert all(len(batch) == 4 for batch in batches())
    epochs = [stream[k : k + 10] for k in range(0, 80, 10)]
    for epoch in epochs:
        assert sorted(index for index, _ in epoch) == list(range(10))
    assert len({tuple(index for index, _ in epoch) for epoch in epochs}) == 8  # each in an order of its own
    assert len({seed for _, seed in stream}) == 80


@pytest.mark.parametrize("start", [0, 1, 2, 3, 5, 19, 20])
def test_a_stream_that_is_resumed_goes_on_as_if_it_had_never_stopped(start: int) -> None:
    assert batches(start=start) == batches()[start:]
    assert len(Batches(10, 4, seed=0, start=start, stop=20)) == 20 - start


def test_longer_runs_begin_alike() -> None:
    assert batches(stop=50)[:20] == batches()


def test_seeds_differ() -> None:
    assert batches(seed=1)[0] != batches(seed=0)[0]
    assert [index for index, _ in chain(*batches(seed=1))] != [index for index, _ in chain(*batches(seed=0))]


def test_a_batch_larger_than_the_data() -> None:
    stream = list(chain.from_iterable(batches(count=3, size=8, stop=3)))
    assert [sorted(index for index, _ in stream[k : k + 3]) for k in range(0, 24, 3)] == [[0, 1, 2]] * 8


def test_the_order_stays_what_it_was() -> None:
    assert batches()[0][:2] == [(6, 3866929917194669811), (3, 2473375881878503672)]


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 0}, {"start": -1}, {"start": 21}, {"seed": -1}])
def test_what_makes_no_batches(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="no batches "):
        batches(**wrong)
