from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch

from zoo_core.data.samples import Sample, SampleTable, Skipped
from zoo_core.errors import DataError
from zoo_core.types import Targets


def sample(number: int, objects: int, ignored: int = 0) -> Sample:
    boxes = torch.tensor([[0.0, 0, 1, 1]]) * number
    targets = Targets(
        boxes.repeat(objects, 1),
        torch.full((objects,), number),
        boxes.repeat(ignored, 1) + 1,
        torch.full((ignored,), -1),
    )
    areas = torch.full((objects,), number + 0.5, dtype=torch.float64)
    return Sample(f"n{number}", (10 + number, 20), targets, Path(f"{number}.png"), areas)


SAMPLES = [sample(1, 2), sample(2, 0, 3), sample(3, 0), sample(4, 1, 1)]


def assert_equal(a: Sample, b: Sample) -> None:
    assert (a.image_id, a.size, a.path) == (b.image_id, b.size, b.path)
    for name in ("boxes", "labels", "ignored", "ignored_labels"):
        assert torch.equal(getattr(a.targets, name), getattr(b.targets, name))
    assert a.areas is not None
    assert b.areas is not None
    assert torch.equal(a.areas, b.areas)


def test_a_table_gives_back_what_was_put_in() -> None:
    table = SampleTable(iter(SAMPLES))
    assert len(table) == 4
    for made, given in zip(table, SAMPLES, strict=True):
        assert_equal(made, given)
    assert_equal(table[-1], SAMPLES[3])
    assert [s.image_id for s in table[1:3]] == ["n2", "n3"]
    for index in (4, -5):
        with pytest.raises(IndexError):
            table[index]


def test_a_table_of_nothing() -> None:
    assert len(SampleTable([])) == 0


def test_a_table_whose_areas_are_not_stated() -> None:
    bare = Sample(1, (2, 3), Targets())
    assert SampleTable([bare])[0].areas is None
    with pytest.raises(DataError, match="some images state the areas of their objects and some do not"):
        SampleTable([bare, SAMPLES[0]])


def test_a_sample_does_not_carry_its_table_along() -> None:
    table = SampleTable([sample(1, 1) for _ in range(1000)])
    stream = io.BytesIO()
    pickle.dump(table[5], stream)
    assert stream.tell() < 5000
    table[5].targets.boxes.fill_(7)
    assert table[5].targets.boxes.max() == 1


def test_skipped() -> None:
    error = DataError("bad", "file", 3)
    with pytest.raises(DataError, match="file, line 3: bad"):
        Skipped().note(error)
    skipped = Skipped(allowed=True)
    for _ in range(9):
        skipped.note(error)
    assert (skipped.count, len(skipped.messages), skipped.messages[0]) == (9, 5, "file, line 3: bad")


def test_a_sample_without_a_picture() -> None:
    with pytest.raises(DataError, match="image 8 has neither a file nor a way to draw it"):
        Sample(8, (2, 3), Targets()).image()
