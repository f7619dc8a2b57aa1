"""What zoo-yolo offers."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_core.contributions import Component, Contribution, Recipe
from zoo_core.plugins import hookimpl

RECIPES = {
    "yolov5n": "YOLOv5 nano, 640 pixels",
    "yolov5s": "YOLOv5 small, 640 pixels",
    "yolov5m": "YOLOv5 medium, 640 pixels",
    "yolov5l": "YOLOv5 large, 640 pixels",
    "yolov5x": "YOLOv5 extra large, 640 pixels",
    "yolov4": "YOLOv4, 608 pixels (Bochkovskiy et al., 2020)",
    "yolov4_tiny": "YOLOv4-tiny, 416 pixels (Wang et al., 2021)",
}
TRAINING = {"yolov4": "v4_training", "yolov4_tiny": "v4_tiny_training"}
"""How the recipes are trained that are not YOLOv5."""


@hookimpl
def zoo_contributions() -> Iterator[Contribution]:
    """Yield the parts of the YOLO detectors and the recipes."""
    specs = "zoo_yolo.specs"
    yield Component(
        *("backbone", "csp_darknet53", f"{specs}:CSPDarknet53Spec", "zoo_yolo.csp_darknet53:CSPDarknet53"),
        summary="CSPDarknet53 with Mish (Bochkovskiy et al., 2020)",
    )
    yield Component(
        *("backbone", "csp_darknet53_tiny", f"{specs}:CSPDarknet53TinySpec", "zoo_yolo.csp_darknet53_tiny:CSPDarknet53Tiny"),
        summary="the backbone of YOLOv4-tiny (Wang et al., 2021)",
    )
    yield Component(
        *("backbone", "c3_darknet", f"{specs}:C3DarknetSpec", "zoo_yolo.c3_darknet:C3Darknet"),
        summary="the backbone of YOLOv5, of any depth and width",
    )
    yield Component(
        *("backbone", "darknet", "zoo_yolo.darknet.specs:DarknetSpec", "zoo_yolo.darknet.body:Darknet"),
        summary="any network of a Darknet .cfg, up to its yolo layers",
    )
    yield Component(
        *("neck", "spp_pan", f"{specs}:SPPPANSpec", "zoo_yolo.spp_pan:SPPPAN"),
        summary="spatial pyramid pooling and path aggregation, as in YOLOv4",
    )
    yield Component(
        *("neck", "yolo_tiny_fpn", f"{specs}:YoloTinyFPNSpec", "zoo_yolo.yolo_tiny_fpn:YoloTinyFPN"),
        summary="two maps, as in YOLOv4-tiny",
    )
    yield Component(
        *("neck", "c3_pan", f"{specs}:C3PANSpec", "zoo_yolo.c3_pan:C3PAN"),
        summary="path aggregation, as in YOLOv5",
    )
    yield Component(
        *("dense_head", "yolo_head", "zoo_yolo.head.specs:YoloHeadSpec", "zoo_yolo.head.yolo_head:YoloHead"),
        summary="boxes, objectness and classes at anchors, as in YOLOv3, v4 and v5",
    )
    yield Component(
        *("assigner", "shape_match", "zoo_yolo.head.specs:ShapeMatchSpec", "zoo_yolo.head.shape_match:ShapeMatch"),
        summary="anchors of a like shape, in the cell of the target and its nearest neighbours (YOLOv5)",
    )
    yield Component(
        *("assigner", "anchor_iou", "zoo_yolo.head.specs:AnchorIoUSpec", "zoo_yolo.head.anchor_iou:AnchorIoU"),
        summary="in the cell of the target, the best anchor and all that overlap enough (YOLOv4)",
    )
    yield Component(
        *("importer", "yolov5", "zoo_yolo.importer_specs:YoloV5ImporterSpec", "zoo_yolo.v5_importer:YoloV5Importer"),
        summary="YOLOv5 checkpoints (.pt), releases 6.0 to 7.0",
    )
    yield Component(
        *("importer", "darknet", "zoo_yolo.importer_specs:DarknetImporterSpec", "zoo_yolo.darknet.importer:DarknetImporter"),
        summary="Darknet .weights with their .cfg",
    )
    for name, summary in RECIPES.items():
        training = TRAINING.get(name, "v5_training")
        yield Recipe("detector", name, f"zoo_yolo.recipes:{name}", summary=summary, training=f"zoo_yolo.recipes:{training}")
