"""The data formats of the core, registered by the road that every plugin takes."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_core.contributions import Component
from zoo_core.plugins import hookimpl


@hookimpl
def zoo_contributions() -> Iterator[Component]:
    """Yield the formats."""
    yield Component(
        *("data_format", "kitti"),
        spec="zoo_core.data.specs:KittiSpec",
        target="zoo_core.data.kitti:Kitti",
        summary="KITTI object detection: training/image_2, training/label_2, train.txt, val.txt",
    )
    yield Component(
        *("data_format", "coco"),
        spec="zoo_core.data.specs:CocoSpec",
        target="zoo_core.data.coco:Coco",
        summary="COCO: annotations/instances_SPLIT.json, images in SPLIT/ or images/SPLIT/",
    )
    yield Component(
        *("data_format", "toy"),
        spec="zoo_core.data.specs:ToySpec",
        target="zoo_core.data.toy:Toy",
        summary="drawn scenes of circles, squares and triangles; needs no files",
    )
