"""What a data set consists of, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

from zoo_core.errors import DataError
from zoo_core.images import read_image
from zoo_core.types import Size, Targets


@dataclass(slots=True)
class Skipped:
    """What to do with a file or a box that cannot be used, and how many there were.

    Attributes:
        allowed: count it and go on; otherwise the first one stops the reading.
        count: how many were left out.
        messages: the first few errors, as text.
    """

    allowed: bool = False
    count: int = 0
    messages: list[str] = field(default_factory=list)

    def note(self, error: DataError) -> None:
        """Count `error` if skipping is allowed; raise it if not."""
        if not self.allowed:
            raise error
        self.count += 1
        if len(self.messages) < 5:
            self.messages.append(str(error))


@dataclass(frozen=True, slots=True)
class Sample:
    """An annotated image that is loaded when it is asked for.

    Attributes:
        image_id: the number or name that the data set knows the image by.
        size: (height, width) of the image.
        targets: its objects and ignore regions, in its pixels.
        path: its file; None when it is drawn.
        areas: (N,) float, the area of each object where the data set states one (COCO: of the mask); None: that of the box.
        draw: returns the image when there is no file.
    """

    image_id: int | str
    size: Size
    targets: Targets
    path: Path | None = None
    areas: Tensor | None = None
    draw: Callable[[], Tensor] | None = None

    @property
    def name(self) -> str:
        """The file, or what stands for it in messages."""
        return str(self.image_id) if self.path is None else str(self.path)

    def image(self) -> Tensor:
        """Return the image as uint8 RGB (3, H, W).

        Raises:
            DataError: the file is missing, damaged, or of another size than annotated.
        """
        if self.path is None:
            if self.draw is None:
                raise DataError(f"image {self.name} has neither a file nor a way to draw it")
            return self.draw()
        image = read_image(self.path)
        height, width = image.shape[1:]
        if (height, width) != self.size:
            raise DataError(
                f"the image is {width} x {height} pixels, its annotation says {self.size[1]} x {self.size[0]}; "
                "correct the annotation or put back the image that it was made for",
                self.path,
            )
        return image


class SampleTable(Sequence[Sample]):
    """Samples kept as a few large tensors and made anew on access.

    A hundred thousand images then cost little memory, and the workers of a loader share it.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        ids: list[int | str] = []
        paths: list[str] = []
        sizes: list[Size] = []
        targets: list[Targets] = []
        areas: list[Tensor | None] = []
        for sample in samples:
            ids.append(sample.image_id)
            paths.append("" if sample.path is None else str(sample.path))
            sizes.append(sample.size)
            targets.append(sample.targets)
            areas.append(sample.areas)
        self._ids, self._paths = ids, paths
        self._sizes = torch.tensor(sizes, dtype=torch.int32).reshape(-1, 2)
        self._boxes = _joined([t.boxes for t in targets], Targets().boxes)
        self._labels = _joined([t.labels for t in targets], Targets().labels)
        self._ignored = _joined([t.ignored for t in targets], Targets().ignored)
        self._ignored_labels = _joined([t.ignored_labels for t in targets], Targets().ignored_labels)
        stated = [area for area in areas if area is not None]
        if stated and len(stated) < len(areas):
            raise DataError("some images state the areas of their objects and some do not; state all or none")
        self._areas = torch.cat(stated) if stated else None
        self._ends = torch.tensor([len(t) for t in targets], dtype=torch.int64).cumsum(0)
        self._ignored_ends = torch.tensor([len(t.ignored) for t in targets], dtype=torch.int64).cumsum(0)

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return tuple(self[k] for k in range(len(self))[index])
        index = range(len(self))[index]  # raises IndexError; a negative one counts from the end
        objects, ignored = _rows(self._ends, index), _rows(self._ignored_ends, index)
        height, width = self._sizes[index].tolist()
        return Sample(  # copies, so that a sample sent to another process does not take the whole table with it
            image_id=self._ids[index],
            size=(height, width),
            targets=Targets(
                self._boxes[objects].clone(),
                self._labels[objects].clone(),
                self._ignored[ignored].clone(),
                self._ignored_labels[ignored].clone(),
            ),
            path=Path(self._paths[index]) if self._paths[index] else None,
            areas=None if self._areas is None else self._areas[objects].clone(),
        )


def _joined(parts: list[Tensor], empty: Tensor) -> Tensor:
    return torch.cat([empty, *parts])


def _rows(ends: Tensor, index: int) -> slice:
    return slice(int(ends[index - 1]) if index else 0, int(ends[index]))


@dataclass(frozen=True, slots=True)
class DetectionData:
    """One split of a data set.

    Attributes:
        class_names: name of each label.
        samples: the images, those without an object included.
        category_ids: the number of each label in the data set's own files (COCO's official ones; else 1 … K).
        name: the folder, or the name of an embedded set.
        split: "train", "val2017", …
        format: the registered name of the format.
        skipped: the files and boxes that were left out.
    """

    class_names: tuple[str, ...]
    samples: Sequence[Sample]
    category_ids: tuple[int, ...]
    name: str
    split: str
    format: str
    skipped: Skipped = field(default_factory=Skipped)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)
