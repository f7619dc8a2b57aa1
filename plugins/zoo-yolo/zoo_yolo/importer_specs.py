"""Options of the importers: none so far."""

from __future__ import annotations

from zoo_core.specs import ComponentSpec


class YoloV5ImporterSpec(ComponentSpec):
    """YOLOv5 checkpoints."""

    type: str = "yolov5"


class DarknetImporterSpec(ComponentSpec):
    """Darknet ``.weights`` files."""

    type: str = "darknet"
