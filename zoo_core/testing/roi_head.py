"""The contract of an RoI head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zoo_core.build import build_part
from zoo_core.interfaces import RoIHead
from zoo_core.specs import ComponentSpec
from zoo_core.testing import scenes
from zoo_core.testing.contract import Contract, Part, checked_spec
from zoo_core.testing.modules import check_gradients, check_module, seeded, unchanged
from zoo_core.testing.outcomes import check_class_rows, check_detections, check_losses, equal
from zoo_core.types import Channels, Detections, Features, ImageBatch

COUNTS = (0, 1, 1000)


def check_roi_head(
    part: Part, channels: Channels, *, num_classes: Sequence[int] = (1, 3, 80), device: str = "cpu", **options: Any
) -> None:
    """Check what every RoI head promises.

    Args:
        part: a registered name, a dict with ``type``, or a spec.
        channels: widths by stride of the maps that it gets.
        num_classes: the numbers of classes that it is tried with.
        device: where it runs.
        **options: options of the part.

    Raises:
        ContractError: a promise that is not kept.
    """
    contract, spec = checked_spec("roi_head", part, options)
    maps = scenes.features(channels, device)
    for classes in num_classes:
        with contract.case(f"{classes} classes" if classes > 1 else "1 class"):
            head = _made(contract, spec, channels, classes, maps, device)
            for name, targets in scenes.prepared(classes).items():
                for count in COUNTS if name in ("ordinary boxes", "no boxes") else (20,):
                    with contract.case(name), contract.case(f"{count} proposals"):
                        found = scenes.proposals(count, targets, device)
                        _check_training(contract, head, maps, found, scenes.batch(targets, device))
            with contract.case("autocast to bfloat16"), torch.autocast(device, torch.bfloat16):
                batch = scenes.batch(scenes.ordinary(classes), device)
                small, found = {stride: map_.bfloat16() for stride, map_ in maps.items()}, scenes.proposals(20, None, device)
                check_losses(contract, head.losses(small, found, batch))
                with torch.no_grad():
                    check_detections(contract, head.detect(small, found, batch), classes)


def _made(contract: Contract, spec: ComponentSpec, channels: Channels, classes: int, maps: Features, device: str) -> RoIHead:
    """Return a head, after the checks of what it detects."""
    batch = scenes.batch(None, device)
    with contract.case("made from its spec"):
        head: RoIHead = build_part("roi_head", spec, channels, classes).to(device)
        contract.demand(isinstance(head, RoIHead), f"{type(head).__name__} is no subclass of RoIHead")
        check_class_rows(contract, head, classes)
    for count in COUNTS:
        with contract.case(f"detection from {count} proposals"), torch.no_grad():
            found = scenes.proposals(count, None, device)
            with unchanged(contract, maps=maps, proposals=found, batch=batch):
                check_detections(contract, head.eval().detect(maps, found, batch), classes)
    found = scenes.proposals(20, None, device)
    checked: RoIHead = check_module(
        contract,
        lambda: build_part("roi_head", spec, channels, classes).to(device),
        lambda module: module.detect(maps, found, batch),
    )
    return checked


def _check_training(contract: Contract, head: RoIHead, maps: Features, proposals: list[Detections], batch: ImageBatch) -> None:
    maps = {stride: map_.clone().requires_grad_() for stride, map_ in maps.items()}
    with unchanged(contract, maps=maps, proposals=proposals, batch=batch), seeded(1):
        losses = head.losses(maps, proposals, batch)
        objective = check_losses(contract, losses)
    with seeded(1):
        contract.demand(equal(losses, head.losses(maps, proposals, batch)), "the losses differ for the same seed")
    check_gradients(contract, head, objective)
