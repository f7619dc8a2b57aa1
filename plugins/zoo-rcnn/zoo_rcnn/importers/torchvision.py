"""State dicts of torchvision's Faster R-CNN to detectors that find what torchvision's find."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError
from zoo_core.importing import Importer, ImportRequest
from zoo_core.pickles.checkpoint import read_checkpoint
from zoo_rcnn.importer_specs import TorchvisionImporterSpec
from zoo_rcnn.importers import coco
from zoo_rcnn.importers.network import COUNT, check_path, detector_of
from zoo_rcnn.importers.state_dict import Renamed, is_pth, renamed, state_dict_of

PACKAGES = ("torch.", "torchvision.", "numpy.", "argparse.", "pathlib.", "builtins.")
"""Where the classes of what lies beside the weights come from; their objects become records."""
PLACES = ("model", "state_dict", "model_state_dict")
RULES = (
    (r"backbone\.body\.(.+)", r"backbone.body.\1"),
    (r"backbone\.fpn\.inner_blocks\.([0-3])(?:\.0)?\.(weight|bias)", r"neck.lateral.{1}.\2"),
    (r"backbone\.fpn\.layer_blocks\.([0-3])(?:\.0)?\.(weight|bias)", r"neck.output.{1}.\2"),
    (r"rpn\.head\.conv(?:\.0\.0)?\.(weight|bias)", r"proposer.conv.\1"),
    (r"rpn\.head\.cls_logits\.(weight|bias)", r"proposer.objectness.\1"),
    (r"rpn\.head\.bbox_pred\.(weight|bias)", r"proposer.deltas.\1"),
    (r"roi_heads\.box_head\.fc6\.(weight|bias)", r"roi_head.shared.0.\1"),
    (r"roi_heads\.box_head\.fc7\.(weight|bias)", r"roi_head.shared.1.\1"),
    (r"roi_heads\.box_predictor\.cls_score\.(weight|bias)", r"roi_head.classes.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(weight|bias)", r"roi_head.deltas.\1"),
)
REFUSED = (
    (r"roi_heads\.mask_.*", "a head for masks, which is not read"),
    (r"roi_heads\.keypoint_.*", "a head for keypoints, which is not read"),
    (r"rpn\.head\.conv\.1\..*|roi_heads\.box_head\.\d.*", "the heads of fasterrcnn_resnet50_fpn_v2, which no recipe has"),
    (r"head\.(classification|regression)_head\..*", "the heads of a detector of one stage, which is not read"),
)
COCO = 90
"""Classes that torchvision's weights for COCO tell apart: the numbers of COCO's categories, which have gaps."""
PUBLISHED = "258fb6c6"
"""In the name of the file of fasterrcnn_resnet50_fpn for COCO. It was trained with nothing added to the variance of norms."""
NORM_EPS = 1e-5
"""What our batch norms add to the variance."""
OPTIONS: dict[str, Any] = {
    "preprocess": {
        "type": "keep_ratio",
        "short_side": 800,
        "long_side": 1333,
        "rounding": "cut",
        "whole_levels": False,
        "pad_multiple": 32,
    },
    "proposer": {
        "rounded": True,
        "fitted_steps": True,
        "candidates": 1000,
        "candidates_train": 2000,
        "proposals": 1000,
        "nms_iou": 0.7,
        "least_side": 1e-3,
        "shrink_bound": False,
    },
    "roi_head": {
        "roi_sampling": 2,
        "roi_aligned": False,
        "least_score": 0.05,
        "nms_iou": 0.5,
        "most_detections": 100,
        "least_side": 1e-2,
        "shrink_bound": False,
    },
}
"""What torchvision's builders set, as options of our recipes."""


class TorchvisionImporter(Importer):
    """Reads ``fasterrcnn_resnet50_fpn``, and what ``resnet_fpn_backbone`` makes with ResNet-18, 34 and 101.

    A state dict does not say with what sizes and thresholds the detector ran: those of torchvision's builders are taken. With
    90 classes the names are COCO's, in torchvision's numbering.
    """

    looks_for: ClassVar[str] = "a .pth file with the state dict of torchvision's fasterrcnn_resnet50_fpn"

    def __init__(self, spec: TorchvisionImporterSpec) -> None:
        self.spec = spec

    def recognises(self, path: Path) -> bool:
        """Return whether it is a file of PyTorch named ``*.pth``."""
        return is_pth(path)

    def read(self, request: ImportRequest) -> Detector:
        """Return the detector, its weights as float32."""
        check_path(request)
        content = read_checkpoint(request.path, lambda name: name.startswith(PACKAGES))
        try:
            found = background_last(renamed(state_dict_of(content, PLACES), RULES, REFUSED, "torchvision"))
            trained = any(name.endswith(COUNT) for name in found.tensors)  # batch norms, not frozen ones
            if PUBLISHED in request.path.name and not trained:
                found = without_eps(found)
            bias = found.tensors.get("roi_head.classes.bias")
            names = coco.categories() if bias is not None and tuple(bias.shape) == (COCO + 1,) else None
            backbone = {"backbone": {"frozen_stages": 0, "frozen_norm": False}} if trained else {}
            return detector_of(found, request, OPTIONS | backbone, names)
        except (CheckpointError, InputError) as error:
            raise type(error)(f"{request.path}: {error}") from error


def background_last(found: Renamed) -> Renamed:
    """Return the weights with the background's scores behind those of the classes, and without its boxes, which are unused."""
    for leaf in ("weight", "bias"):
        scores, deltas = f"roi_head.classes.{leaf}", f"roi_head.deltas.{leaf}"
        found = found.changed(scores, lambda rows: rows.roll(-1, 0) if rows.ndim else rows, "the background's row put last")
        found = found.changed(deltas, lambda rows: rows[4:] if rows.ndim else rows, "without the background's 4 rows")
    return found


def without_eps(found: Renamed) -> Renamed:
    """Return the weights with variances that are as they should be once our batch norms have added to them."""
    for name in [name for name in found.tensors if name.endswith("running_var")]:
        found = found.changed(name, lambda variance: variance - NORM_EPS, f"less {NORM_EPS}, which ours adds")
    return found
