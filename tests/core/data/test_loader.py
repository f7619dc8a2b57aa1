from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from zoo_core.data.batches import Batches
from zoo_core.data.loader import LoadedBatch, evaluation_loader, training_loader
from zoo_core.data.mosaic import Mosaic
from zoo_core.data.open import open_data
from zoo_core.data.samples import DetectionData
from zoo_core.data.specs import AugmentSpec, ToySpec
from zoo_core.errors import DataError
from zoo_core.types import Detections, ImageBatch, Targets

AUGMENT = AugmentSpec(scale=(0.5, 1.5))
MOSAIC = AugmentSpec(scale=(0.5, 1.5), translate=0.1, hsv=(0.015, 0.7, 0.4), mosaic=0.7, mixup=0.4)


class Pad:
    """Puts images into the upper left corner of a common tensor."""

    frame = (96, 128)

    def __call__(
        self, images: Sequence[Tensor], targets: Sequence[Targets] | None = None, names: Sequence[str] = ()
    ) -> ImageBatch:
        sizes = tuple((image.shape[1], image.shape[2]) for image in images)
        tensor = torch.zeros(len(images), 3, 200, 260)
        for place, image in zip(tensor, images, strict=True):
            place[:, : image.shape[1], : image.shape[2]] = image / 255
        return ImageBatch(tensor, sizes, sizes, sizes, None if targets is None else tuple(targets), tuple(names))

    def restore(self, detections: Sequence[Detections], batch: ImageBatch) -> list[Detections]:
        return list(detections)


@pytest.fixture(scope="module")
def toy() -> DetectionData:
    return open_data("toy", "train", format=ToySpec(train=10))


def run(
    data: DetectionData,
    workers: int = 0,
    start: int = 0,
    seed: int = 0,
    steps: int = 6,
    augment: AugmentSpec = AUGMENT,
) -> list[LoadedBatch]:
    loader = training_loader(
        *(data, Pad()),
        batch_size=4,
        steps=steps,
        start_step=start,
        seed=seed,
        augment=augment,
        workers=workers,
    )
    assert len(loader) == steps - start
    return list(loader)


def assert_equal(a: LoadedBatch, b: LoadedBatch) -> None:
    assert a.indices == b.indices
    assert torch.equal(a.batch.tensor, b.batch.tensor)
    assert a.batch.names == b.batch.names
    assert a.batch.targets is not None
    assert b.batch.targets is not None
    for x, y in zip(a.batch.targets, b.batch.targets, strict=True):
        for name in ("boxes", "labels", "ignored", "ignored_labels"):
            assert torch.equal(getattr(x, name), getattr(y, name))


@pytest.mark.parametrize("augment", [AUGMENT, MOSAIC], ids=["alone", "mosaic"])
def test_neither_workers_nor_a_resumption_change_a_batch(toy: DetectionData, augment: AugmentSpec) -> None:
    whole = run(toy, augment=augment)
    assert len({batch.indices for batch in whole}) == 6
    for workers, start in ((1, 3), (2, 1), (0, 4)):
        other = run(toy, workers, start, augment=augment)
        for a, b in zip(reversed(whole), reversed(other), strict=False):
            assert_equal(a, b)
    assert not torch.equal(run(toy, seed=1, steps=1, augment=augment)[0].batch.tensor, whole[0].batch.tensor)


def test_mosaics_among_single_images(toy: DetectionData) -> None:
    seen = set()
    for loaded in run(toy, augment=MOSAIC):
        assert loaded.batch.targets is not None
        for index, name, size in zip(loaded.indices, loaded.batch.names, loaded.batch.sizes, strict=True):
            names = name.split(" + ")
            assert toy[index].name in names
            assert size == (toy[index].size if len(names) == 1 else (96, 128))
            seen.add(len(names))
    assert seen == {1, 4, 8}


def test_a_mosaic_is_zoomed_once(toy: DetectionData) -> None:
    spec = AugmentSpec(flip=0, scale=(0.5, 0.5), mosaic=1)
    mosaic = Mosaic(spec, (96, 128))
    for loaded in run(toy, augment=spec):
        for row, (index, name) in enumerate(zip(loaded.indices, loaded.batch.names, strict=True)):
            plans = (mosaic.plan(index, len(toy), seed) for seed in _seeds(toy, index))
            plan = next(plan for plan in plans if plan and name == " + ".join(toy[k].name for k in plan.indices))
            image, _ = mosaic.compose(plan, [(toy[k].image(), toy[k].targets) for k in plan.indices])
            assert torch.equal(loaded.batch.tensor[row, :, :96, :128], image / 255)


def _seeds(data: DetectionData, index: int) -> list[int]:
    """Return the seeds that `run` has for an image."""
    return [seed for batch in Batches(len(data), 4, seed=0, start=0, stop=6) for found, seed in batch if found == index]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_random_state_is_neither_used_nor_changed(toy: DetectionData, workers: int) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(toy, workers=workers, steps=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert_equal(first[0], run(toy, workers=workers, steps=1)[0])


def test_images_and_targets_belong_together(toy: DetectionData) -> None:
    (loaded,) = training_loader(toy, Pad(), batch_size=10, steps=1)
    assert sorted(loaded.indices) == list(range(10))
    assert loaded.batch.targets is not None
    for row, index in enumerate(loaded.indices):
        sample = toy[index]
        height, width = sample.size
        assert torch.equal(loaded.batch.tensor[row, :, :height, :width], sample.image() / 255)
        assert torch.equal(loaded.batch.targets[row].boxes, sample.targets.boxes)
        assert torch.equal(loaded.batch.targets[row].labels, sample.targets.labels)
        assert (loaded.batch.sizes[row], loaded.batch.names[row]) == (sample.size, sample.name)


def damaged(tmp_path: Path, count: int, bad: set[int]) -> DetectionData:
    """Return data of `count` images; those in `bad` are no images any more."""
    data = open_data("toy", "train", format=ToySpec(train=count))
    samples = []
    for k, sample in enumerate(data):
        path = tmp_path / f"{k}.png"
        if k in bad:
            path.write_text("no image")
        else:
            Image.fromarray(sample.image().permute(1, 2, 0).numpy()).save(path)
        samples.append(replace(sample, path=path))
    return replace(data, samples=samples)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_stops_training(tmp_path: Path, workers: int) -> None:
    data = damaged(tmp_path, 3, {1})
    loader = training_loader(data, Pad(), batch_size=3, steps=1, workers=workers)
    loaded = next(iter(loader)).to("cpu")
    with pytest.raises(DataError) as caught:
        assert loaded.batch
    assert str(caught.value) == f"{tmp_path / '1.png'}: the image cannot be read: it is no image, or damaged"
    assert caught.value.path == tmp_path / "1.png"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_can_be_skipped(tmp_path: Path, workers: int) -> None:
    data = damaged(tmp_path, 4, {1, 2})
    (loaded,) = training_loader(data, Pad(), batch_size=4, steps=1, workers=workers, skip_bad=True)
    assert sorted(loaded.indices) == [0, 3, 3, 3]  # the next good one stands in
    assert len(loaded.batch) == 4
    reason = "the image cannot be read: it is no image, or damaged"
    assert set(loaded.skipped) == {f"{tmp_path / f'{k}.png'}: {reason}" for k in (1, 2)}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_in_a_mosaic(tmp_path: Path, workers: int) -> None:
    data, spec = damaged(tmp_path, 4, {1, 2}), AugmentSpec(mosaic=1)
    (loaded,) = training_loader(data, Pad(), batch_size=4, steps=1, augment=spec, workers=workers, skip_bad=True)
    assert sorted(loaded.indices) == [0, 1, 2, 3]  # what they were made for
    names = [name for names in loaded.batch.names for name in names.split(" + ")]
    assert set(names) == {str(tmp_path / "0.png"), str(tmp_path / "3.png")}
    reason = "the image cannot be read: it is no image, or damaged"
    assert set(loaded.skipped) == {f"{tmp_path / f'{k}.png'}: {reason}" for k in (1, 2)}
    assert len(loaded.skipped) > 4  # each time that one would have been seen

    (loaded,) = training_loader(data, Pad(), batch_size=4, steps=1, augment=spec, workers=workers)
    with pytest.raises(DataError, match=r"[12]\.png: the image cannot be read"):
        assert loaded.batch


@pytest.mark.parametrize("augment", [None, AugmentSpec(mosaic=1)])
def test_nothing_but_bad_images(tmp_path: Path, augment: AugmentSpec | None) -> None:
    data = damaged(tmp_path, 2, {0, 1})
    (loaded,) = training_loader(data, Pad(), batch_size=2, steps=1, augment=augment, skip_bad=True)
    with pytest.raises(DataError, match=r"not one of the 2 images can be loaded; the first error: .*\.png: the image cannot"):
        assert loaded.batch


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_in_order(toy: DetectionData, workers: int) -> None:
    found = list(evaluation_loader(toy, Pad(), batch_size=4, workers=workers))
    assert [indices for _, indices in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for batch, indices in found:
        assert batch.targets is None
        assert batch.names == tuple(toy[index].name for index in indices)
        height, width = toy[indices[0]].size
        assert torch.equal(batch.tensor[0, :, :height, :width], toy[indices[0]].image() / 255)


def test_evaluation_of_a_part(toy: DetectionData) -> None:
    found = evaluation_loader(toy, Pad(), batch_size=2, indices=range(1, 10, 3))
    assert [indices for _, indices in found] == [[1, 4], [7]]


def test_evaluation_of_a_bad_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0\.png: the image cannot be read"):
        list(evaluation_loader(damaged(tmp_path, 2, {0}), Pad(), batch_size=2, workers=1))


def test_a_batch_survives_the_way_out_of_a_worker(toy: DetectionData) -> None:
    loaded = run(toy, steps=1)[0]
    assert_equal(pickle.loads(pickle.dumps(loaded)), loaded)
    error = LoadedBatch(DataError("bad", "file", 3))
    with pytest.raises(DataError, match="file, line 3: bad"):
        assert pickle.loads(pickle.dumps(error)).batch


def test_a_batch_takes_one_open_file(toy: DetectionData) -> None:
    """Shared tensors each take one; eight workers with batches of 16 would exceed the usual limit of 1024."""
    parts: list[Tensor] = []

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, Tensor):
                parts.append(value)
            return NotImplemented

    Pickler(io.BytesIO()).dump(run(toy, steps=1)[0])
    assert len(parts) == 1


def test_accelerate_passes_batches_through(toy: DetectionData) -> None:
    loader = training_loader(toy, Pad(), batch_size=4, steps=6, start_step=1, augment=AUGMENT)
    prepared = Accelerator(cpu=True).prepare(loader)
    assert len(prepared) == 5
    for a, b in zip(prepared, run(toy, start=1), strict=True):
        assert_equal(a, b)


def test_several_processes_share_the_batches(toy: DetectionData) -> None:
    from accelerate.data_loader import prepare_data_loader

    loader = training_loader(toy, Pad(), batch_size=4, steps=6, augment=AUGMENT)
    shards = [list(prepare_data_loader(loader, num_processes=2, process_index=k)) for k in (0, 1)]
    whole = run(toy)
    for k, shard in enumerate(shards):
        assert len(shard) == 3
        for a, b in zip(shard, whole[k::2], strict=True):
            assert_equal(a, b)
