"""Files of ImageNet weights, for the backbone of a detector whose other parts are new."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from zoo_core.build import build
from zoo_core.create import begin_backbone
from zoo_core.detectors.detector import Detector
from zoo_core.detectors.specs import DetectorSpec
from zoo_core.errors import CheckpointError, InputError
from zoo_core.importing import Importer, ImportRequest
from zoo_core.pickles.checkpoint import PICKLE, ZIP
from zoo_core.recipes import override, resolve
from zoo_timm.specs import TimmImporterSpec, TimmSpec
from zoo_timm.weights import WRAPPERS

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
CLASSIFIER = (
    *("fc", "classifier", "head", "last_linear", "conv_head", "bn2", "norm", "fc_norm", "features"),
    *("_fc", "_conv_head", "_bn1"),
)
"""How the names begin of what a network for ImageNet has behind its last map."""


class TimmImporter(Importer):
    """Reads what `zoo_timm.weights` reads: the keys of timm, of torchvision and of some ports, with or without a classifier."""

    looks_for: ClassVar[str] = "a .pth, .pt or .safetensors file of ImageNet weights, for the backbone of a given recipe"
    partial: ClassVar[bool] = True

    def __init__(self, spec: TimmImporterSpec) -> None:
        self.spec = spec

    def recognises(self, path: Path) -> bool:
        """Return whether it is named as a file of weights is, and begins as one."""
        if path.suffix.lower() not in SUFFIXES:
            return False
        with path.open("rb") as file:
            return path.suffix.lower() == ".safetensors" or file.read(len(ZIP)).startswith((ZIP, PICKLE))

    def read(self, request: ImportRequest) -> Detector:
        """Return a new detector, whose backbone has the weights of the file."""
        if request.cfg is not None:
            raise InputError(f"{request.path} needs no description of its network; leave out {request.cfg}")
        spec = request.like if request.recipe is None else resolve(request.recipe)
        if spec is None:
            raise CheckpointError(f"{request.path} is no detector; if it is a backbone's, say of which recipe (--recipe)")
        if not isinstance(spec, DetectorSpec) or not isinstance(spec.backbone, TimmSpec):
            raise CheckpointError(f"{request.path} is no detector, and the backbone of this one is none of timm's")
        given = {} if request.class_names is None else {"num_classes": len(request.class_names)}
        weights = {"backbone": {"weights": str(request.path), "pretrained": False}}
        detector = build(override(spec, {**given, **weights}), request.class_names)
        begin_backbone(detector)
        rest = [] if detector.report is None else detector.report.unexpected
        if more := [name for name in rest if _start(name) not in _known(detector)]:
            raise CheckpointError(f"{request.path} holds more than a backbone: {', '.join(name[:100] for name in more[:3])}")
        detector.spec = override(spec, given)
        detector.recipe = request.recipe or ""
        return detector


def _start(name: str) -> str:
    return next((name.removeprefix(wrapper) for wrapper in WRAPPERS if name.startswith(wrapper)), name).partition(".")[0]


def _known(detector: Detector) -> set[str]:
    """Return how names begin that may be left over: of classifiers, and of stages behind the last map."""
    stages = {name.split(".")[1] for name in detector.backbone.state_dict()}
    return {*CLASSIFIER, *stages, *(f"layer{number}" for number in range(1, 5)), "blocks", "stages", "layers"}
