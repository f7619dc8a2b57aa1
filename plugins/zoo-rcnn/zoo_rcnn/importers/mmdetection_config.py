"""The configuration in a checkpoint of MMDetection, as options of our recipes. Its text is parsed, and never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from zoo_core.errors import CheckpointError
from zoo_rcnn.importers.colours import opposite

LONGEST = 2**20
Path = tuple[str, ...]


class Unknown:
    """Stands for what is no plain value, and for what a configuration does not say."""


UNKNOWN = Unknown()
FIXED: dict[str, tuple[Any, ...]] = {
    "model.type": ("FasterRCNN",),
    "model.backbone.type": ("ResNet",),
    "model.backbone.style": ("pytorch", "caffe"),
    "model.backbone.strides": ((1, 2, 2, 2),),
    "model.backbone.dilations": ((1, 1, 1, 1),),
    "model.neck.type": ("FPN",),
    "model.neck.num_outs": (5,),
    "model.neck.start_level": (0,),
    "model.neck.add_extra_convs": (False,),
    "model.data_preprocessor.bgr_to_rgb": (True, False),
    "img_norm_cfg.to_rgb": (True, False),
    "Normalize.to_rgb": (True, False),
    "model.rpn_head.type": ("RPNHead",),
    "model.rpn_head.anchor_generator.type": ("AnchorGenerator",),
    "model.rpn_head.anchor_generator.strides": ((4, 8, 16, 32, 64),),
    "model.rpn_head.anchor_generator.center_offset": (0,),
    "model.rpn_head.bbox_coder.target_means": ((0, 0, 0, 0),),
    "model.rpn_head.loss_cls.use_sigmoid": (True,),
    "model.roi_head.type": ("StandardRoIHead",),
    "model.roi_head.bbox_roi_extractor.featmap_strides": ((4, 8, 16, 32),),
    "model.roi_head.bbox_roi_extractor.finest_scale": (56,),
    "model.roi_head.bbox_roi_extractor.roi_layer.type": ("RoIAlign",),
    "model.roi_head.bbox_head.type": ("Shared2FCBBoxHead",),
    "model.roi_head.bbox_head.bbox_coder.target_means": ((0, 0, 0, 0),),
    "model.roi_head.bbox_head.loss_cls.use_sigmoid": (False,),
    "test_cfg.rpn.nms_across_levels": (False,),
    "test_cfg.rpn.nms.type": ("nms",),
    "test_cfg.rcnn.nms.type": ("nms",),
    "Resize.keep_ratio": (True,),
}
"""What can be but one of these values here, where the configuration says it."""
TAKEN = {
    "model.backbone.frozen_stages": "backbone.frozen_stages",
    "model.backbone.norm_eval": "backbone.frozen_norm",
    "model.data_preprocessor.mean": "preprocess.mean",
    "model.data_preprocessor.std": "preprocess.std",
    "model.data_preprocessor.pad_size_divisor": "preprocess.pad_multiple",
    "img_norm_cfg.mean": "preprocess.mean",
    "img_norm_cfg.std": "preprocess.std",
    "Normalize.mean": "preprocess.mean",
    "Normalize.std": "preprocess.std",
    "Pad.size_divisor": "preprocess.pad_multiple",
    "model.rpn_head.anchor_generator.scales": "proposer.scales",
    "model.rpn_head.anchor_generator.ratios": "proposer.ratios",
    "model.rpn_head.bbox_coder.target_stds": "proposer.std",
    "test_cfg.rpn.nms_pre": "proposer.candidates",
    "test_cfg.rpn.max_num": "proposer.proposals",
    "test_cfg.rpn.max_per_img": "proposer.proposals",
    "test_cfg.rpn.nms_thr": "proposer.nms_iou",
    "test_cfg.rpn.nms.iou_threshold": "proposer.nms_iou",
    "test_cfg.rpn.min_bbox_size": "proposer.least_side",
    "model.roi_head.bbox_roi_extractor.roi_layer.sample_num": "roi_head.roi_sampling",
    "model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio": "roi_head.roi_sampling",
    "model.roi_head.bbox_roi_extractor.roi_layer.aligned": "roi_head.roi_aligned",
    "model.roi_head.bbox_head.bbox_coder.target_stds": "roi_head.std",
    "test_cfg.rcnn.score_thr": "roi_head.least_score",
    "test_cfg.rcnn.nms.iou_thr": "roi_head.nms_iou",
    "test_cfg.rcnn.nms.iou_threshold": "roi_head.nms_iou",
    "test_cfg.rcnn.max_per_img": "roi_head.most_detections",
}
"""Where a configuration says what an option of ours says; of two places the later counts."""


def options(meta: Mapping[Any, Any]) -> dict[str, Any]:
    """Return, as options of a recipe, what the configuration beside the weights says; nothing where there is none.

    Where the network is one that `sees_blue_first`, what is said of colours is turned, for ours sees red first.

    Raises:
        CheckpointError: a network, or a way to run it, that no options of ours give. It says where.
    """
    config = _config(meta)
    for place, allowed in FIXED.items():
        value = _at(config, tuple(place.split(".")))
        if value is not UNKNOWN and value is not None and value not in allowed:
            known = f"{' and '.join(map(_shown, allowed))} {'are' if len(allowed) > 1 else 'is'} read"
            raise CheckpointError(f"its configuration has {place} = {_shown(value)}; only {known}")
    found: dict[str, Any] = {}
    for place, option in TAKEN.items():
        value = _at(config, tuple(place.split(".")))
        if value is not UNKNOWN and value is not None:
            part, _, name = option.partition(".")
            found.setdefault(part, {})[name] = _converted(name, value)
    size = _first(config, ("Resize", "scale"), ("Resize", "img_scale"), ("MultiScaleFlipAug", "img_scale"))
    if size is not UNKNOWN and size is not None:
        if not isinstance(size, tuple) or len(size) != 2 or not all(type(side) is int for side in size):
            raise CheckpointError(f"its configuration resizes images to {_shown(size)}, which is no single size")
        found.setdefault("preprocess", {}).update(long_side=max(size), short_side=min(size))
    if _at(config, ("model", "backbone", "style")) == "caffe":
        found.setdefault("backbone", {})["stride_first"] = True
    return opposite(found) if _blue_first(config) else found


def sees_blue_first(meta: Mapping[Any, Any]) -> bool:
    """Return whether the configuration beside the weights gives the network images as OpenCV reads them, BGR."""
    return _blue_first(_config(meta))


def _config(meta: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the configuration, with the parts that are in several places, by version, in one."""
    text = next((meta[key] for key in ("config", "cfg") if isinstance(meta.get(key), str)), "")
    config = read(text)
    test = _first(config, ("model", "test_cfg"), ("test_cfg",))
    config["test_cfg"] = test if isinstance(test, dict) else {}
    for step in _steps(_first(config, ("test_pipeline",), ("test_dataloader",), ("data", "test"))):
        config.setdefault(str(step.get("type")), step)
    return config


def _blue_first(config: Mapping[str, Any]) -> bool:
    pixels = _at(config, ("model", "data_preprocessor"))
    turned = not (isinstance(pixels, dict) and "mean" in pixels)  # the default of 3.x is not to turn, that of 2.x is
    for place in (("img_norm_cfg", "to_rgb"), ("Normalize", "to_rgb"), ("model", "data_preprocessor", "bgr_to_rgb")):
        value = _at(config, place)
        turned = value if isinstance(value, bool) else turned
    return not turned


def read(text: str) -> dict[str, Any]:
    """Return the plain values of a configuration, a Python file of assignments; empty where it cannot be parsed."""
    if len(text) > LONGEST:
        raise CheckpointError(f"holds a configuration of {len(text)} letters; no more than {LONGEST} are read")
    try:
        tree = ast.parse(text)
        assigned = [node for node in tree.body if isinstance(node, ast.Assign) and len(node.targets) == 1]
        return {node.targets[0].id: _plain(node.value) for node in assigned if isinstance(node.targets[0], ast.Name)}
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # of another language, or made to be deep
        return {}


def _plain(node: ast.expr) -> Any:
    """Return what an expression of dicts, lists and literals means; lists as tuples."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _plain(node.operand)
        return -value if type(value) in (int, float) else UNKNOWN
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(_plain(part) for part in node.elts)
    if isinstance(node, ast.Dict):
        return {key.value: _plain(v) for key, v in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Constant)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {keyword.arg: _plain(keyword.value) for keyword in node.keywords if keyword.arg}
    return UNKNOWN


def _converted(name: str, value: Any) -> Any:
    if type(value) not in (int, float):
        return value
    if name == "frozen_stages":  # there, the stem is not counted, and -1 is none
        return value + 1
    return max(value, 0) if name == "least_side" else value


def _at(config: Any, path: Path) -> Any:
    for name in path:
        if not isinstance(config, dict) or name not in config:
            return UNKNOWN
        config = config[name]
    return config


def _first(config: Mapping[str, Any], *paths: Path) -> Any:
    return next((value for path in paths if (value := _at(config, path)) is not UNKNOWN), UNKNOWN)


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the steps of a pipeline, and those within a step, outer ones first; of a dataset, those of its pipeline."""
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value
        for name in ("dataset", "pipeline", "transforms"):
            yield from _steps(value.get(name))
    elif isinstance(value, tuple):
        for part in value:
            yield from _steps(part)


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, Unknown) else "something that is no plain value"
    return text if len(text) <= 80 else f"{text[:80]}…"
