"""The contract of a neck."""

from __future__ import annotations

from typing import Any

import torch

from zoo_core.build import build_part
from zoo_core.interfaces import Neck
from zoo_core.testing import scenes
from zoo_core.testing.contract import Part, checked_spec
from zoo_core.testing.modules import check_gradients, check_module, unchanged
from zoo_core.testing.outcomes import check_channels, check_features
from zoo_core.types import Channels


def check_neck(part: Part, channels: Channels, *, device: str = "cpu", **options: Any) -> None:
    """Check what every neck promises.

    Args:
        part: a registered name, a dict with ``type``, or a spec.
        channels: widths by stride of the maps that it gets.
        device: where it runs.
        **options: options of the part.

    Raises:
        ContractError: a promise that is not kept.
    """
    contract, spec = checked_spec("neck", part, options)
    maps = scenes.features(channels, device)
    count, frame = len(scenes.SIZES), scenes.FRAME
    with contract.case("made from its spec"):
        neck: Neck = build_part("neck", spec, channels).to(device)
        contract.demand(isinstance(neck, Neck), f"{type(neck).__name__} is no subclass of Neck")
        check_channels(contract, neck.channels)
    with contract.case("maps of two images"):
        with unchanged(contract, maps=maps):
            check_features(contract, neck(maps), neck.channels, count, frame)
        neck = check_module(contract, lambda: build_part("neck", spec, channels).to(device), lambda module: module(maps))
    with contract.case("images of an odd number of cells"):
        odd = (scenes.FRAME[0] + 32, scenes.FRAME[1] - 32)
        check_features(contract, neck(scenes.features(channels, device, odd)), neck.channels, count, odd)
    with contract.case("training"):
        for map_ in maps.values():
            map_.requires_grad_()
        objective = torch.stack([map_.square().mean() for map_ in neck.train()(maps).values()]).sum()
        if objective.requires_grad:
            check_gradients(contract, neck, objective)
        contract.demand(any(map_.grad is not None for map_ in maps.values()), "no gradient goes through to the backbone")
    with contract.case("autocast to bfloat16"), torch.autocast(device, torch.bfloat16):
        check_features(contract, neck(maps), neck.channels, count, frame)
