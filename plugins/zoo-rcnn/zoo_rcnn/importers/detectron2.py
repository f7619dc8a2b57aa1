"""Checkpoints of Detectron2's Faster R-CNN with FPN to detectors that find what Detectron2's find."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError
from zoo_core.importing import Importer, ImportRequest
from zoo_core.pickles.checkpoint import PICKLE, read_checkpoint
from zoo_core.pickles.plain import read_pickle
from zoo_rcnn.importer_specs import Detectron2ImporterSpec
from zoo_rcnn.importers import coco
from zoo_rcnn.importers.colours import red_first
from zoo_rcnn.importers.detectron2_settings import MEAN, beside, options, sees_blue_first
from zoo_rcnn.importers.network import BODY, COUNT, check_path, detector_of
from zoo_rcnn.importers.state_dict import Renamed, Weights, is_pth, renamed, state_dict_of

log = logging.getLogger(__name__)
PACKAGES = ("detectron2.", "fvcore.", "iopath.", "torch.", "numpy.", "builtins.")
"""Where the classes of what lies beside the weights come from; their objects become records."""
BLOCK = r"([0-9]+)\.conv([123])"
RULES = (
    (r"backbone\.bottom_up\.stem\.conv1\.weight", r"backbone.body.conv1.weight"),
    (r"backbone\.bottom_up\.stem\.conv1\.norm\.(.+)", r"backbone.body.bn1.\1"),
    *(
        rule
        for stage in (1, 2, 3, 4)
        for rule in (
            (rf"backbone\.bottom_up\.res{stage + 1}\.{BLOCK}\.weight", rf"backbone.body.layer{stage}.\1.conv\2.weight"),
            (rf"backbone\.bottom_up\.res{stage + 1}\.{BLOCK}\.norm\.(.+)", rf"backbone.body.layer{stage}.\1.bn\2.\3"),
            (
                rf"backbone\.bottom_up\.res{stage + 1}\.([0-9]+)\.shortcut\.weight",
                rf"backbone.body.layer{stage}.\1.downsample.0.weight",
            ),
            (
                rf"backbone\.bottom_up\.res{stage + 1}\.([0-9]+)\.shortcut\.norm\.(.+)",
                rf"backbone.body.layer{stage}.\1.downsample.1.\2",
            ),
            (rf"backbone\.fpn_lateral{stage + 1}\.(weight|bias)", rf"neck.lateral.{2 * 2**stage}.\1"),
            (rf"backbone\.fpn_output{stage + 1}\.(weight|bias)", rf"neck.output.{2 * 2**stage}.\1"),
        )
    ),
    (r"proposal_generator\.rpn_head\.conv\.(weight|bias)", r"proposer.conv.\1"),
    (r"proposal_generator\.rpn_head\.objectness_logits\.(weight|bias)", r"proposer.objectness.\1"),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.(weight|bias)", r"proposer.deltas.\1"),
    (r"roi_heads\.box_head\.fc1\.(weight|bias)", r"roi_head.shared.0.\1"),
    (r"roi_heads\.box_head\.fc2\.(weight|bias)", r"roi_head.shared.1.\1"),
    (r"roi_heads\.box_predictor\.cls_score\.(weight|bias)", r"roi_head.classes.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(weight|bias)", r"roi_head.deltas.\1"),
)
REFUSED = (
    (r"roi_heads\.mask_.*", "a head for masks, which is not read"),
    (r"roi_heads\.keypoint_.*", "a head for keypoints, which is not read"),
    (r"roi_heads\.box_(head|predictor)\.[0-9]+\..*", "one of the heads of Cascade R-CNN, which is not read"),
    (r"sem_seg_head\..*", "a head for semantic segmentation, which is not read"),
    (r"roi_heads\.res5\..*|backbone\.(stem|res[2-5])\..*", "a network without a pyramid (C4 or DC5), which is not read"),
    (r"head\.(cls|bbox)_.*|backbone\.top_block\..*", "a detector of one stage (RetinaNet), which is not read"),
    (r"roi_heads\.box_head\.(conv|fc)[0-9]+\..*", "a box head that is not of two layers, which ours is"),
    (r"proposal_generator\.rpn_head\.conv\.conv[0-9]+\..*", "several convolutions in the proposer, which has one here"),
    (r"backbone\.fpn_(lateral|output)[2-5]\.norm\..*", "normalisation in the pyramid, which ours has not"),
    (r"backbone\.bottom_up\..*\.conv2_offset\..*", "deformable convolutions, which are not read"),
)
COCO = 80
LEARNED = (
    "%s: the stem of its backbone has statistics of its own, as torchvision's ResNets have them and those of the MSRA, which "
    "Detectron2 begins with, have not; if it was trained from such, what it finds is wrong until stride and colours are set: "
    "docs/hub.md says how"
)


class Detectron2Importer(Importer):
    """Reads Faster R-CNN with ResNet-50 or 101 and FPN: of the model zoo (``.pkl``) and of one's own training (``.pth``).

    The files do not say how the detector ran: the settings of ``Base-RCNN-FPN`` are taken, and the colours' mean and
    deviation where the file has them. With 80 classes the names are COCO's.
    """

    looks_for: ClassVar[str] = "a .pkl or .pth file of Detectron2 with a Faster R-CNN with FPN"

    def __init__(self, spec: Detectron2ImporterSpec) -> None:
        self.spec = spec

    def recognises(self, path: Path) -> bool:
        """Return whether it is a pickle named ``*.pkl``, or a file of PyTorch named ``*.pth``."""
        if path.suffix.lower() != ".pkl":
            return is_pth(path)
        with path.open("rb") as file:
            return file.read(len(PICKLE)) == PICKLE

    def read(self, request: ImportRequest) -> Detector:
        """Return the detector, its weights as float32."""
        check_path(request)
        reader = read_pickle if request.path.suffix.lower() == ".pkl" else read_checkpoint
        content = reader(request.path, lambda name: name.startswith(PACKAGES))
        try:
            if isinstance(content, dict) and "blobs" in content:
                raise CheckpointError("holds 'blobs', the weights of a network of Caffe2, which is not read")
            weights, said = beside(state_dict_of(content, ("model",)))
            found = renamed(weights, RULES, REFUSED, "Detectron2")
            if MEAN not in said and _has_learned_statistics(found.tensors):
                log.warning(LEARNED, request.path)
            if sees_blue_first(said):
                found = red_first(found)
            bias = found.tensors.get("roi_head.classes.bias")
            names = coco.classes() if bias is not None and tuple(bias.shape) == (COCO + 1,) else None
            return detector_of(found, request, options(said) | {"backbone": _backbone(found, said)}, names)
        except (CheckpointError, InputError) as error:
            raise type(error)(f"{request.path}: {error}") from error


def _backbone(found: Renamed, said: Weights) -> dict[str, Any]:
    """Return where the stride is, and what was not trained: the parts whose norms, unlike those of others, count no batches."""
    counting = {name.split(".")[2] for name in found.tensors if name.startswith(BODY) and name.endswith(COUNT)}
    backbone: dict[str, Any] = {"stride_first": sees_blue_first(said)}
    if counting:
        parts = ("bn1", "layer1", "layer2", "layer3", "layer4")
        frozen = next(number for number, part in enumerate(parts) if part in counting)
        backbone |= {"frozen_stages": frozen, "frozen_norm": False}
    return backbone


def _has_learned_statistics(weights: Weights) -> bool:
    """Tell whether a frozen stem has a mean: those of the MSRA's weights are zero, as they are part of scale and shift."""
    mean = weights.get(f"{BODY}.bn1.running_mean")
    return mean is not None and f"{BODY}.bn1.{COUNT}" not in weights and bool(mean.any())
