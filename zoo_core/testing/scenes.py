"""What parts are tried on: images of two sizes in one batch, targets of every awkward kind, feature maps, proposals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_core.types import ANY_LABEL, Channels, Detections, Features, ImageBatch, Size, Targets

SIZES: tuple[Size, ...] = ((96, 128), (64, 160))
"""(height, width) of the two images; the batch is padded to 96 x 160."""
FRAME: Size = (96, 160)
MANY = 1000


def generator(seed: int = 0) -> torch.Generator:
    """Return a generator on the CPU, so that a scene is the same on every device."""
    return torch.Generator().manual_seed(seed)


def boxes(count: int, size: Size, seed: int = 0) -> Tensor:
    """Return random boxes (N, 4) inside an image of (height, width), no side shorter than two pixels."""
    random = torch.rand(count, 4, generator=generator(seed))
    limits = torch.tensor([size[1], size[0]], dtype=torch.float32)
    sides = 2 + random[:, 2:] * (limits / 2 - 2)
    corner = random[:, :2] * (limits - sides)
    return torch.cat([corner, corner + sides], dim=1)


def some_targets(size: Size, num_classes: int, count: int = 3, seed: int = 0) -> Targets:
    """Return the targets of one image: ordinary boxes, labels from the first to the last class, one ignored region."""
    labels = torch.linspace(0, num_classes - 1, count).round().long()
    return Targets(boxes(count, size, seed), labels, boxes(1, size, seed + 1), torch.tensor([ANY_LABEL]))


def ordinary(num_classes: int) -> list[Targets]:
    """Return targets for each image of a batch as most batches have them."""
    return [some_targets(size, num_classes, 3 - k, seed=10 + k) for k, size in enumerate(SIZES)]


def awkward(num_classes: int) -> dict[str, list[Targets]]:
    """Return targets for each image, by what is awkward about them."""
    last = num_classes - 1
    first, second = SIZES
    corner = torch.tensor([[8.0, 8.0, 8.0, 8.0]])
    pixel, line = corner + torch.tensor([0.0, 0, 1, 1]), corner + torch.tensor([0.0, 0, 40, 0])
    whole = torch.tensor([[0.0, 0, first[1], first[0]]])
    region = Targets(ignored=torch.cat([whole, whole / 2]), ignored_labels=torch.tensor([ANY_LABEL, last]))
    return {
        "ordinary boxes": ordinary(num_classes),
        "no boxes": [Targets(), Targets()],
        "one box": [some_targets(first, num_classes, 1), Targets()],
        "1000 boxes": [some_targets(first, num_classes, MANY), some_targets(second, num_classes, 1)],
        "boxes of one pixel": [_labelled(torch.cat([pixel, pixel + 20]), last), _labelled(pixel, last)],
        "boxes without area": [_labelled(torch.cat([corner, line]), last), _labelled(corner, last)],
        "boxes as large as the image": [_labelled(whole, last), Targets()],
        "equal boxes": [_labelled(boxes(1, first).expand(5, 4).clone(), last), Targets()],
        "all ignored": [region, region],
    }


def prepared(num_classes: int) -> dict[str, list[Targets]]:
    """Return those that a head can meet: preprocessing leaves out boxes without area."""
    found = awkward(num_classes)
    del found["boxes without area"]
    return found


def _labelled(found: Tensor, label: int) -> Targets:
    return Targets(found, torch.full((len(found),), label))


def batch(targets: Sequence[Targets] | None, device: str = "cpu") -> ImageBatch:
    """Return a batch of two images of different sizes."""
    pixels = torch.zeros(len(SIZES), 3, *FRAME)
    for image, (height, width) in zip(pixels, SIZES, strict=True):
        image[:, :height, :width] = torch.randn(3, height, width, generator=generator(height))
    made = ImageBatch(pixels, SIZES, SIZES, SIZES, None if targets is None else tuple(targets))
    return made.to(device)


def images(sizes: Sequence[Size] = SIZES) -> list[Tensor]:
    """Return uint8 images (3, H, W) of random pixels."""
    return [torch.randint(0, 256, (3, *size), generator=generator(size[0]), dtype=torch.uint8) for size in sizes]


def features(channels: Channels, device: str = "cpu", frame: Size = FRAME) -> Features:
    """Return random maps (N, C, H / stride, W / stride) for a batch; a fraction of a cell counts as a cell."""
    random = generator()
    shapes = {stride: (len(SIZES), width, -(-frame[0] // stride), -(-frame[1] // stride)) for stride, width in channels.items()}
    return {stride: torch.randn(shape, generator=random).to(device) for stride, shape in shapes.items()}


def proposals(count: int, targets: Sequence[Targets] | None = None, device: str = "cpu") -> list[Detections]:
    """Return `count` proposals for each image, best first; some lie near the targets when there are any."""
    found = []
    for k, size in enumerate(SIZES):
        places = boxes(count, size, seed=20 + k)
        if targets is not None and len(targets[k]) and count > 1:
            near = targets[k].boxes[: count // 2]
            places[: len(near)] = near + 0.25
        scores = torch.rand(count, generator=generator(k)).sort(descending=True).values
        found.append(Detections(places, scores, torch.zeros(count, dtype=torch.int64)).to(device))
    return found
