"""The contract of a detector, and so of a recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from zoo_core.build import build
from zoo_core.detectors.detector import Detector
from zoo_core.detectors.specs import DetectorSpec
from zoo_core.recipes import override, resolve
from zoo_core.specs import ComponentSpec, validate
from zoo_core.testing import scenes
from zoo_core.testing.contract import Contract, check_spec
from zoo_core.testing.modules import check_gradients, check_module, made, seeded
from zoo_core.testing.outcomes import check_detections, check_losses, equal
from zoo_core.types import Detections, Targets


def check_detector(
    recipe: str | ComponentSpec, *, num_classes: Sequence[int] = (1, 3, 80), device: str = "cpu", **overrides: Any
) -> None:
    """Check what every detector promises. Give overrides that make it small; no pretrained weights are fetched.

    Args:
        recipe: the name of a recipe, or a complete spec.
        num_classes: the numbers of classes that it is tried with; the second, or the only one, in full.
        device: where it runs.
        **overrides: options of the recipe, as for `zoo.create`.

    Raises:
        ContractError: a promise that is not kept.
    """
    contract = Contract(f"detector '{recipe if isinstance(recipe, str) else recipe.type}'")
    chosen = resolve(recipe, overrides)
    if not isinstance(chosen, DetectorSpec):
        raise contract.broken(f"a {type(chosen).__name__} is no DetectorSpec")
    check_spec(contract, chosen)
    thorough = num_classes[min(1, len(num_classes) - 1)]
    for classes in num_classes:
        with contract.case(f"{classes} classes" if classes > 1 else "1 class"):
            spec = override(chosen, {"num_classes": classes})
            detector = made(lambda spec=spec: build(spec).to(device), 1)  # type: ignore[misc]
            _check_both_ways(contract, detector, classes)
            if classes == thorough:
                _check_in_full(contract, spec, detector, device)


def _check_both_ways(contract: Contract, detector: Detector, classes: int) -> None:
    """Check that the argument decides, in training and in evaluation."""
    images, targets = scenes.images(), scenes.ordinary(classes)
    for mode in (True, False):
        with contract.case("training mode" if mode else "evaluation mode"), seeded(1):
            detector.train(mode)
            check_losses(contract, detector(images, targets))
            check_detections(contract, detector(images), classes)
            contract.demand(detector.training == mode, "a call changes the mode")


def _check_in_full(contract: Contract, spec: DetectorSpec, detector: Detector, device: str) -> None:
    images, classes = scenes.images(), spec.num_classes
    with contract.case("built from its JSON"):
        again = build(validate(type(spec), json.loads(json.dumps(spec.model_dump(mode="json")))))
        contract.demand(again.state_dict().keys() == detector.state_dict().keys(), "the weights have other names")
    with contract.case("detection"):
        check_module(contract, lambda: build(spec).to(device), lambda module: module(images))
        _check_frames(contract, detector.eval(), classes)
    for name, targets in scenes.awkward(classes).items():
        with contract.case(name), seeded(1):
            check_gradients(contract, detector.train(), check_losses(contract, detector(images, targets)))
    _check_equal_ways(contract, detector.eval(), classes)
    with contract.case("autocast to bfloat16"), torch.autocast(device, torch.bfloat16):
        check_losses(contract, detector.train()(images, scenes.ordinary(classes)))
        check_detections(contract, detector.eval()(images), classes)
    wrong = Targets(torch.tensor([[1.0, 1, 9, 9]]), torch.tensor([classes]))
    with contract.refusal(f"label {classes} of {classes} classes"):
        detector(images, [wrong, Targets()])


def _check_frames(contract: Contract, detector: Detector, classes: int) -> None:
    """Check images of awkward sizes, and that the boxes are in the pixels of each."""
    sizes = [(1, 1), (40, 300), (97, 61)]
    found: list[Detections] = detector(scenes.images(sizes))
    check_detections(contract, found, classes, len(sizes))
    for one, (height, width) in zip(found, sizes, strict=True):
        limits = torch.tensor([width, height, width, height], device=one.boxes.device)
        near = ((one.boxes >= -limits) & (one.boxes <= 2 * limits)).all()  # over the border, perhaps, but in this frame
        contract.demand(near, f"boxes of an image of {(height, width)} lie far outside; they are to be in its pixels")


def _check_equal_ways(contract: Contract, detector: Detector, classes: int) -> None:
    images, targets = scenes.images(), scenes.ordinary(classes)
    with contract.case("a ready batch"):
        with seeded(1):
            direct = detector(images, targets)
        with seeded(1):
            ready = detector(detector.preprocess(images, targets))
        contract.demand(equal(direct, ready), "the losses differ from those of the raw images")
        contract.demand(equal(detector(images), detector(detector.preprocess(images))), "the detections differ, too")
    with contract.case("predict"):
        one_by_one = [detector([image])[0].to("cpu").above(0.0) for image in images]
        contract.demand(equal(one_by_one, detector.train().predict(images)), "it differs from a call for each image")
        contract.demand(detector.training, "it leaves the detector in another mode")
