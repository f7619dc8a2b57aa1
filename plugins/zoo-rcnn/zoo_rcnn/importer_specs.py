"""Options of the importers: none so far."""

from __future__ import annotations

from zoo_core.specs import ComponentSpec


class MMDetectionImporterSpec(ComponentSpec):
    """Checkpoints of MMDetection 2.x and 3.x."""

    type: str = "mmdetection_rcnn"


class TorchvisionImporterSpec(ComponentSpec):
    """State dicts of torchvision."""

    type: str = "torchvision_rcnn"


class Detectron2ImporterSpec(ComponentSpec):
    """Files of Detectron2's model zoo, and checkpoints of its trainings."""

    type: str = "detectron2_rcnn"
