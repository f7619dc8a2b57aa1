"""What zoo-rcnn offers."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_core.contributions import Component, Contribution, Recipe
from zoo_core.plugins import hookimpl


@hookimpl
def zoo_contributions() -> Iterator[Contribution]:
    """Yield the parts of Faster R-CNN and its recipes."""
    specs = "zoo_rcnn.specs"
    yield Component(
        "dense_head", "rpn", f"{specs}:RPNSpec", "zoo_rcnn.rpn:RPN", summary="region proposal network (Ren et al., 2015)"
    )
    yield Component(
        *("roi_head", "box_head", f"{specs}:BoxHeadSpec", "zoo_rcnn.box_head:BoxHead"),
        summary="RoIAlign, two shared layers, classes and boxes (Girshick, 2015)",
    )
    yield Component(
        *("assigner", "max_iou", f"{specs}:MaxIoUSpec", "zoo_rcnn.max_iou:MaxIoU"),
        summary="a prior answers for the target that it overlaps most",
    )
    yield Component(
        *("sampler", "random", f"{specs}:RandomSamplerSpec", "zoo_rcnn.random_sampler:RandomSampler"),
        summary="a fixed number of priors, a bounded share of them positive",
    )
    options, importers = "zoo_rcnn.importer_specs", "zoo_rcnn.importers"
    yield Component(
        *("importer", "mmdetection_rcnn", f"{options}:MMDetectionImporterSpec", f"{importers}.mmdetection:MMDetectionImporter"),
        summary="Faster R-CNN of MMDetection 2.x and 3.x (.pth)",
    )
    yield Component(
        *("importer", "torchvision_rcnn", f"{options}:TorchvisionImporterSpec", f"{importers}.torchvision:TorchvisionImporter"),
        summary="state dicts of torchvision's fasterrcnn_resnet50_fpn (.pth)",
    )
    yield Component(
        *("importer", "detectron2_rcnn", f"{options}:Detectron2ImporterSpec", f"{importers}.detectron2:Detectron2Importer"),
        summary="Faster R-CNN with FPN of Detectron2 (.pkl, .pth)",
    )
    for name, backbone in (("r18", "ResNet-18"), ("r34", "ResNet-34"), ("r50", "ResNet-50"), ("r101", "ResNet-101")):
        recipe = f"faster_rcnn_{name}_fpn"
        yield Recipe("detector", recipe, f"zoo_rcnn.recipes:{recipe}", summary=f"Faster R-CNN, {backbone}, FPN")
    yield Recipe(
        *("detector", "faster_rcnn_mobilenetv2_fpn", "zoo_rcnn.recipes:faster_rcnn_mobilenetv2_fpn"),
        summary="Faster R-CNN, MobileNetV2, a narrow FPN: for processors",
    )
