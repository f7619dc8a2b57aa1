"""Checkpoints of MMDetection's Faster R-CNN to detectors that find what MMDetection's find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError
from zoo_core.importing import Importer, ImportRequest
from zoo_core.pickles.checkpoint import read_checkpoint
from zoo_rcnn.importer_specs import MMDetectionImporterSpec
from zoo_rcnn.importers import mmdetection_config
from zoo_rcnn.importers.colours import red_first
from zoo_rcnn.importers.network import check_path, detector_of
from zoo_rcnn.importers.state_dict import is_pth, renamed, state_dict_of

PACKAGES = ("mmcv.", "mmengine.", "mmdet.", "numpy.", "addict.", "torch.", "pathlib.", "datetime.", "builtins.")
"""Where the classes of what lies beside the weights come from; their objects become records."""
RULES = (
    (r"backbone\.(.+)", r"backbone.body.\1"),
    (r"neck\.lateral_convs\.([0-3])\.conv\.(weight|bias)", r"neck.lateral.{1}.\2"),
    (r"neck\.fpn_convs\.([0-3])\.conv\.(weight|bias)", r"neck.output.{1}.\2"),
    (r"rpn_head\.rpn_conv\.(weight|bias)", r"proposer.conv.\1"),
    (r"rpn_head\.rpn_cls\.(weight|bias)", r"proposer.objectness.\1"),
    (r"rpn_head\.rpn_reg\.(weight|bias)", r"proposer.deltas.\1"),
    (r"roi_head\.bbox_head\.shared_fcs\.([01])\.(weight|bias)", r"roi_head.shared.\1.\2"),
    (r"roi_head\.bbox_head\.fc_cls\.(weight|bias)", r"roi_head.classes.\1"),
    (r"roi_head\.bbox_head\.fc_reg\.(weight|bias)", r"roi_head.deltas.\1"),
)
REFUSED = (
    (r"bbox_head\.(fc_cls|shared_fcs)\..*", "the layout of MMDetection 1.x, whose boxes are counted otherwise"),
    (r"roi_head\.mask_.*", "a head for masks, which is not read"),
    (r"roi_head\.bbox_head\.[0-9]\..*", "one of the heads of Cascade R-CNN, which is not read"),
    (r"ema_.*", "averaged weights beside the others; give a published file"),
    (r"neck\.fpn_convs\.[4-9]\..*", "a map of its own beyond those of the backbone, which our FPN has not"),
    (r"bbox_head\..*", "the head of a detector of one stage, which is not read"),
)


class MMDetectionImporter(Importer):
    """Reads Faster R-CNN with ResNet and FPN, with any classes.

    The settings are those of the configuration in the file; where there is none, those of MMDetection's 1x configurations.
    """

    looks_for: ClassVar[str] = "a .pth file of MMDetection 2.x or 3.x with a Faster R-CNN"

    def __init__(self, spec: MMDetectionImporterSpec) -> None:
        self.spec = spec

    def recognises(self, path: Path) -> bool:
        """Return whether it is a file of PyTorch named ``*.pth``."""
        return is_pth(path)

    def read(self, request: ImportRequest) -> Detector:
        """Return the detector, its weights as float32."""
        check_path(request)
        content = read_checkpoint(request.path, lambda name: name.startswith(PACKAGES))
        meta = content.get("meta") if isinstance(content, dict) else None
        meta = meta if isinstance(meta, dict) else {}
        try:
            found = renamed(state_dict_of(content, ("state_dict",)), RULES, REFUSED, "MMDetection")
            found = red_first(found) if mmdetection_config.sees_blue_first(meta) else found
            return detector_of(found, request, mmdetection_config.options(meta), class_names(meta))
        except (CheckpointError, InputError) as error:
            raise type(error)(f"{request.path}: {error}") from error


def class_names(meta: Mapping[Any, Any]) -> tuple[str, ...] | None:
    """Return the names in what lies beside the weights: "CLASSES" as 2.x has it, or in "dataset_meta" as 3.x; None for none."""
    dataset = meta.get("dataset_meta")
    places = (dataset, meta) if isinstance(dataset, dict) else (meta,)
    for place in places:
        for key in ("classes", "CLASSES"):
            names = place.get(key)
            if isinstance(names, str):
                return (names,)
            if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
                return tuple(names)
    return None
