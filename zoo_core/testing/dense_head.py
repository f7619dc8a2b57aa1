"""The contract of a dense head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zoo_core.build import build_part
from zoo_core.interfaces import DenseHead
from zoo_core.specs import ComponentSpec
from zoo_core.testing import scenes
from zoo_core.testing.contract import Contract, Part, checked_spec
from zoo_core.testing.modules import check_gradients, check_module, seeded, unchanged
from zoo_core.testing.outcomes import check_class_rows, check_detections, check_losses, equal
from zoo_core.types import Channels, Features, ImageBatch


def check_dense_head(
    part: Part, channels: Channels, *, num_classes: Sequence[int] = (1, 3, 80), device: str = "cpu", **options: Any
) -> None:
    """Check what every dense head promises.

    Args:
        part: a registered name, a dict with ``type``, or a spec.
        channels: widths by stride of the maps that it gets.
        num_classes: the numbers of classes that it is tried with; a proposer knows one: ``(1,)``.
        device: where it runs.
        **options: options of the part.

    Raises:
        ContractError: a promise that is not kept.
    """
    contract, spec = checked_spec("dense_head", part, options)
    maps = scenes.features(channels, device)
    for classes in num_classes:
        with contract.case(f"{classes} classes" if classes > 1 else "1 class"):
            head = _made(contract, spec, channels, classes, maps, device)
            for name, targets in scenes.prepared(classes).items():
                with contract.case(name):
                    _check_training(contract, head, maps, scenes.batch(targets, device), classes)
            with contract.case("autocast to bfloat16"), torch.autocast(device, torch.bfloat16):
                batch = scenes.batch(scenes.ordinary(classes), device)
                raw = head({stride: map_.bfloat16() for stride, map_ in maps.items()})
                check_losses(contract, head.losses(raw, batch))
                check_detections(contract, head.decode(raw, batch), classes)


def _made(
    contract: Contract, spec: ComponentSpec, channels: Channels, classes: int, maps: Features, device: str
) -> DenseHead[Any]:
    """Return a head, after the checks of what it detects."""
    batch = scenes.batch(None, device)
    with contract.case("made from its spec"):
        head: DenseHead[Any] = build_part("dense_head", spec, channels, classes).to(device)
        contract.demand(isinstance(head, DenseHead), f"{type(head).__name__} is no subclass of DenseHead")
        check_class_rows(contract, head, classes)
    with contract.case("detection"):
        with unchanged(contract, maps=maps, batch=batch):
            found = head.eval().decode(head(maps), batch)  # with gradients on: a proposer is called so in training
        check_detections(contract, found, classes)
        head = check_module(
            contract,
            lambda: build_part("dense_head", spec, channels, classes).to(device),
            lambda module: module.decode(module(maps), batch),
        )
    return head.train()


def _check_training(contract: Contract, head: DenseHead[Any], maps: Features, batch: ImageBatch, classes: int) -> None:
    maps = {stride: map_.clone().requires_grad_() for stride, map_ in maps.items()}
    with unchanged(contract, maps=maps, batch=batch), seeded(1):
        raw = head(maps)
        losses = head.losses(raw, batch)
        objective = check_losses(contract, losses)
    with seeded(1):
        contract.demand(equal(losses, head.losses(head(maps), batch)), "the losses differ for the same seed")
    check_gradients(contract, head, objective)
    contract.demand(any(map_.grad is not None for map_ in maps.values()), "no gradient goes through to the feature maps")
    check_detections(contract, head.decode(raw, batch), classes)
