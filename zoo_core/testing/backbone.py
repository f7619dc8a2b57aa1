"""The contract of a backbone."""

from __future__ import annotations

from typing import Any

import torch

from zoo_core.build import build_part
from zoo_core.interfaces import Backbone
from zoo_core.testing import scenes
from zoo_core.testing.contract import Contract, Part, checked_spec
from zoo_core.testing.modules import check_gradients, check_module, unchanged
from zoo_core.testing.outcomes import check_channels, check_features, tensors


def check_backbone(part: Part, *, device: str = "cpu", **options: Any) -> None:
    """Check what every backbone promises. No pretrained weights are fetched.

    Args:
        part: a registered name, a dict with ``type``, or a spec.
        device: where it runs.
        **options: options of the part.

    Raises:
        ContractError: a promise that is not kept.
    """
    contract, spec = checked_spec("backbone", part, options)
    with contract.case("made from its spec"):
        backbone: Backbone = build_part("backbone", spec).to(device)
        contract.demand(isinstance(backbone, Backbone), f"{type(backbone).__name__} is no subclass of Backbone")
        check_channels(contract, backbone.channels)
    with contract.case("a batch of two images"):
        # Sides are multiples of the coarsest stride, as padding makes them.
        step = max(*backbone.channels, 32)
        frame = (2 * step, 3 * step)
        images = torch.randn(2, 3, *frame, generator=scenes.generator()).to(device)
        with unchanged(contract, images=images):
            check_features(contract, backbone(images), backbone.channels, 2, frame)
        backbone = check_module(contract, lambda: build_part("backbone", spec).to(device), lambda module: module(images))
    with contract.case("a batch of one"):
        check_features(contract, backbone.eval()(images[:1, :, :step]), backbone.channels, 1, (step, frame[1]))
    with contract.case("training"):
        objective = torch.stack([map_.square().mean() for map_ in backbone.train()(images).values()]).sum()
        if any(parameter.requires_grad for parameter in backbone.parameters()):
            check_gradients(contract, backbone, objective)
    _check_alone(contract, backbone, images)
    with contract.case("autocast to bfloat16"), torch.autocast(device, torch.bfloat16):
        check_features(contract, backbone(images), backbone.channels, 2, frame)


def _check_alone(contract: Contract, backbone: Backbone, images: torch.Tensor) -> None:
    """Check that in evaluation an image does not see the others of its batch."""
    with contract.case("an image alone and in a batch"), torch.no_grad():
        backbone.eval()
        both, alone = backbone(images), backbone(images[1:])
        for stride, one, other in zip(both, tensors(both), tensors(alone), strict=True):
            scale = float(one.abs().max()) + 1e-6
            contract.demand((one[1:] - other).abs().max() < 1e-3 * scale, f"the map of stride {stride} differs")
