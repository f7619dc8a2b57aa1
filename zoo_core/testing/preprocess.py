"""The contract of preprocessing."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch import Tensor

from zoo_core.build import build_part
from zoo_core.interfaces import Preprocess
from zoo_core.ops.boxes import nonempty
from zoo_core.testing import scenes
from zoo_core.testing.contract import Contract, Part, checked_spec
from zoo_core.testing.modules import unchanged
from zoo_core.testing.outcomes import equal
from zoo_core.types import Detections, ImageBatch, Size, Targets

CLASSES = 3
TOLERANCE = 0.01
"""In pixels of the original image."""
SIZES: dict[str, tuple[Size, ...]] = {
    "one image": ((96, 128),),
    "images of different sizes": ((96, 128), (200, 37), (64, 64)),
    "an image of one pixel": ((1, 1), (20, 30)),
    "a long and a tall image": ((4, 300), (300, 4)),
}


def check_preprocess(part: Part, **options: Any) -> None:
    """Check what every preprocessing promises: boxes go there and back, images are not touched, workers can hold it.

    Args:
        part: a registered name, a dict with ``type``, or a spec.
        **options: options of the part.

    Raises:
        ContractError: a promise that is not kept.
    """
    contract, spec = checked_spec("preprocess", part, options)
    with contract.case("made from its spec"):
        preprocess: Preprocess = build_part("preprocess", spec)
        contract.demand(isinstance(preprocess, Preprocess), f"{type(preprocess).__name__} lacks __call__ or restore")
    with contract.case("sent to a worker"):
        sent = pickle.loads(pickle.dumps(preprocess))
        contract.demand(equal(sent(scenes.images()), preprocess(scenes.images())), "it does something else there")
    for name, sizes in SIZES.items():
        with contract.case(name):
            _check_batch(contract, preprocess, scenes.images(sizes), sizes)
    for name, targets in scenes.awkward(CLASSES).items():
        with contract.case(name):
            _check_targets(contract, preprocess, targets)
    image = scenes.images()[0]
    wrong: dict[str, Any] = {"no image": [], "an image of floats": [image.float()], "an image without colours": [image[:1]]}
    for name, given in {**wrong, "an image without pixels": [image[:, :0]]}.items():
        with contract.refusal(name):
            preprocess(given)
    with contract.refusal("one target for two images"):
        preprocess([image, image], [Targets()])


def _check_batch(contract: Contract, preprocess: Preprocess, images: list[Tensor], sizes: tuple[Size, ...]) -> None:
    targets = [Targets(_safe(size), torch.zeros(1, dtype=torch.int64)) for size in sizes]
    with unchanged(contract, images=images, targets=targets):
        batch = preprocess(images, targets, [str(k) for k in range(len(images))])
    contract.demand(isinstance(batch, ImageBatch), f"the result is a {type(batch).__name__}, not an ImageBatch")
    shape, kind = tuple(batch.tensor.shape), batch.tensor.dtype
    right = len(shape) == 4 and shape[:2] == (len(images), 3) and kind == torch.float32 and batch.tensor.isfinite().all()
    contract.demand(right, f"the tensor is {kind} of {shape}; it must be finite float32 (N, 3, H, W)")
    contract.demand(batch.original == sizes, f"`original` is {batch.original} for images of {sizes}")
    for size, origin, padded in zip(batch.sizes, batch.origins, batch.padded, strict=True):
        grows = all(a >= 1 and o >= 0 and o + a <= b <= c for a, o, b, c in zip(size, origin, padded, shape[2:], strict=True))
        contract.demand(
            grows,
            f"an image of {size} at {origin} padded to {padded} in a batch of {shape[2:]}: each must hold the one before",
        )
    contract.demand(equal(batch, preprocess(images, targets)), "the batch differs when made again")
    contract.demand(preprocess(images).targets is None, "a batch without targets must have None for them")
    _check_way_back(contract, preprocess, batch, targets)


def _safe(size: Size) -> Tensor:
    """Return a box (1, 4) in the middle of an image."""
    return torch.tensor([[size[1] * 0.25, size[0] * 0.25, size[1] * 0.75, size[0] * 0.75]])


def _check_way_back(contract: Contract, preprocess: Preprocess, batch: ImageBatch, targets: list[Targets]) -> None:
    there = [Detections(t.boxes, torch.ones(len(t)), t.labels) for t in batch.targets or ()]
    back = preprocess.restore(there, batch)
    contract.demand(len(back) == len(targets), f"`restore` gives {len(back)} images for {len(targets)}")
    for found, wanted in zip(back, targets, strict=True):
        same = found.boxes.shape == wanted.boxes.shape and (found.boxes - wanted.boxes).abs().max() < TOLERANCE
        contract.demand(same, f"`restore` gives {found.boxes.tolist()} for boxes that were {wanted.boxes.tolist()}")
        contract.demand(torch.equal(found.labels, wanted.labels), "`restore` changes the labels")
    nothing = preprocess.restore([Detections() for _ in targets], batch)
    contract.demand(all(len(found) == 0 for found in nothing), "`restore` makes detections out of none")


def _check_targets(contract: Contract, preprocess: Preprocess, targets: list[Targets]) -> None:
    batch = preprocess(scenes.images(), targets)
    found = batch.targets or ()
    contract.demand(len(found) == len(targets), f"{len(found)} targets in the batch for {len(targets)}")
    for after, before, (height, width), (top, left) in zip(found, targets, batch.sizes, batch.origins, strict=True):
        contract.demand(len(after) <= len(before), "there are more targets than before")
        contract.demand(nonempty(after.boxes).all(), "boxes without area must be left out: no head can learn from them")
        contract.demand(set(after.labels.tolist()) <= set(before.labels.tolist()), "there are labels that were not there")
        corner = torch.tensor([left, top, left, top])
        limits = torch.tensor([width, height, width, height]) + TOLERANCE
        for boxes in (after.boxes - corner, after.ignored - corner):
            contract.demand(((boxes >= -TOLERANCE) & (boxes <= limits)).all(), "boxes lie outside the resized image")
