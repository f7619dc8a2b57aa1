"""YOLOv5 checkpoints to detectors, by the shapes and names of their tensors. The file is read without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from zoo_core.build import build
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError
from zoo_core.hub import fill
from zoo_core.importing import Importer, ImportRequest
from zoo_core.pickles.checkpoint import PICKLE, ZIP, read_checkpoint
from zoo_core.pickles.records import Record
from zoo_core.recipes import resolve
from zoo_core.report import LoadReport
from zoo_yolo.importer_specs import YoloV5ImporterSpec

PACKAGES = ("models.", "utils.", "yolov5.", "ultralytics.", "torch.nn.", "pathlib.")
"""Where the classes of such files come from; their objects become records."""
MODELS = ("Model", "DetectionModel")
LAYERS = (
    *("Conv", "Conv", "C3", "Conv", "C3", "Conv", "C3", "Conv", "C3", "SPPF"),
    *("Conv", "Upsample", "Concat", "C3", "Conv", "Upsample", "Concat", "C3"),
    *("Conv", "Concat", "C3", "Conv", "Concat", "C3", "Detect"),
)
"""The layers of release 6, by their classes: 0 to 9 are the backbone, 24 is the head."""
SOURCES = {12: [-1, 6], 16: [-1, 4], 19: [-1, 14], 22: [-1, 10], 24: [17, 20, 23]}
"""Which layers those with several inputs take."""
OTHERS = {
    "Focus": "the stem of release 5 and earlier",
    "C2f": "a block of YOLOv8",
    "Segment": "a head for masks",
    "Classify": "a head for whole images",
}
PLACES = {
    0: "backbone.stem",
    **{1 + 2 * k: f"backbone.stages.{k}.down" for k in range(4)},
    **{2 + 2 * k: f"backbone.stages.{k}.block" for k in range(4)},
    9: "backbone.pool",
    **{10: "neck.reduce.0", 14: "neck.reduce.1", 13: "neck.up.0", 17: "neck.up.1"},
    **{18: "neck.down.0", 21: "neck.down.1", 20: "neck.out.0", 23: "neck.out.1"},
}
PARTS = {
    "Conv": {"conv": "conv", "bn": "norm"},
    "C3": {"cv1": "main", "cv2": "side", "cv3": "merge", "m": "blocks"},
    "SPPF": {"cv1": "reduce", "cv2": "merge"},
    "Bottleneck": {"cv1": "reduce", "cv2": "expand"},
}
"""What the parts of a layer are called there and here; a part of a list keeps its number."""
ACTIVATIONS = {"SiLU": "silu", "Mish": "mish", "ReLU": "relu"}
STRIDES = (8, 16, 32)
RECIPES = {(16, 1): "yolov5n", (32, 1): "yolov5s", (48, 2): "yolov5m", (64, 3): "yolov5l", (80, 4): "yolov5x"}
"""By the channels of the stem and the blocks of the first stage."""
MOST_PARTS = 10_000


@dataclass(frozen=True)
class Parts:
    """What a checkpoint holds, as it is found.

    Attributes:
        tensors: by their names here.
        rules: by the same names, where each is from.
        modules: records by their paths there, such as "24.m.0".
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    modules: dict[str, Record] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """The network of a checkpoint.

    Attributes:
        parts: its tensors and modules.
        anchors: of each map, (width, height) in pixels.
        num_classes: how many classes the head tells apart.
    """

    parts: Parts
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    num_classes: int


class YoloV5Importer(Importer):
    """Reads the models n, s, m, l and x of releases 6.0 to 7.0, with any classes and anchors."""

    looks_for: ClassVar[str] = "a .pt file of YOLOv5, releases 6.0 to 7.0"

    def __init__(self, spec: YoloV5ImporterSpec) -> None:
        self.spec = spec

    def recognises(self, path: Path) -> bool:
        """Return whether it is a file of PyTorch named ``*.pt``."""
        if path.suffix.lower() != ".pt":
            return False
        with path.open("rb") as file:
            return file.read(len(ZIP)).startswith((ZIP, PICKLE))

    def read(self, request: ImportRequest) -> Detector:
        """Return the detector, its weights as float32."""
        if request.cfg is not None:
            raise InputError(f"{request.path} describes its network itself; leave out {request.cfg}")
        content = read_checkpoint(request.path, lambda name: name.startswith(PACKAGES))
        try:
            model = found_model(content)
            network = read_network(model)
            recipe = request.recipe or _recipe(network)
            names = request.class_names or _names(model, network.num_classes)
            detector = build(resolve(recipe, _options(network)), names)
        except (CheckpointError, InputError) as error:
            raise type(error)(f"{request.path}: {error}") from error
        detector.recipe, detector.report = recipe, LoadReport(remapped=network.parts.rules)
        fill(detector, network.parts.tensors, request.path)
        return detector


def found_model(content: Any) -> Record:
    """Return the record of the network: the averaged weights where there are any, as YOLOv5 itself takes them."""
    found: Any = content
    if isinstance(content, dict):
        found = content.get("ema") if isinstance(content.get("ema"), Record) else content.get("model")
    if not isinstance(found, Record):
        held = f"a dict of {_listed(content)}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise CheckpointError(f"holds {held}, and no network under 'model' or 'ema': it is no checkpoint of YOLOv5")
    if _kind(found) not in MODELS:
        raise CheckpointError(f"holds a {found.name[:100]}, which is no detector of YOLOv5")
    return found


def read_network(model: Record) -> Network:
    """Return the tensors of a network under the names that they have here, after a check that its layers are YOLOv5's."""
    body = _children(model).get("model")
    layers = _children(body) if isinstance(body, Record) else {}
    modules = {str(number): layers.get(str(number)) for number in range(max(len(layers), len(LAYERS)))}
    for (number, module), due in zip(modules.items(), (*LAYERS, *["end"] * len(modules)), strict=False):
        found = _kind(module) if isinstance(module, Record) else "end"
        if found != due:
            hint = f" ({OTHERS[found]})" if found in OTHERS else ""
            raise CheckpointError(
                f"layer {number} is {_article(found)}{hint} where YOLOv5 n, s, m, l and x of releases 6.0 to 7.0 "
                f"have {_article(due)}; models of other layouts are not read"
            )
    parts = Parts()
    for index, place in PLACES.items():
        _collect(layers[str(index)], str(index), place, parts)
    for index, sources in SOURCES.items():
        taken = layers[str(index)].get("f", sources)
        if type(taken) is not list or any(type(number) is not int for number in taken) or taken != sources:
            raise CheckpointError(f"layer {index} takes other layers than {sources}; it is no published model")
    anchors, num_classes = _head(layers["24"], parts)
    return Network(parts, anchors, num_classes)


def _collect(module: Record, path: str, place: str, found: Parts) -> None:
    """Add a module's tensors, and those of its parts, under their names here."""
    found.modules[path] = module
    if len(found.modules) > MOST_PARTS or path.count(".") > 8:
        raise CheckpointError("its modules hold each other without end")
    for attribute in ("_parameters", "_buffers"):
        held = module.get(attribute)
        for name, tensor in (held if isinstance(held, dict) else {}).items():
            if isinstance(tensor, Tensor):
                found.tensors[f"{place}.{name}"] = tensor
                found.rules[f"{place}.{name}"] = f"from model.{path}.{name}"
    names = PARTS.get(_kind(module), {})
    for name, part in _children(module).items():
        _collect(part, f"{path}.{name}", f"{place}.{names.get(name, name)}", found)


def _head(detect: Record, found: Parts) -> tuple[tuple[tuple[tuple[float, float], ...], ...], int]:
    """Add the tensors of the head; return its anchors in pixels (the file has them in cells) and the number of classes."""
    buffers = detect.get("_buffers")
    anchors = buffers.get("anchors") if isinstance(buffers, dict) else None
    layers = _children(detect).get("m")
    maps = list(_children(layers).values()) if isinstance(layers, Record) else []
    if not isinstance(anchors, Tensor) or anchors.shape[::2] != (3, 2) or anchors.ndim != 3 or len(maps) != 3:
        raise CheckpointError(
            "its head has no anchors for three maps: it is not that of YOLOv5 n, s, m, l and x (nor is yolov5nu)"
        )
    for number, (stride, layer) in enumerate(zip(STRIDES, maps, strict=True)):
        _collect(layer, f"24.m.{number}", f"head.predict.{stride}", found)
    weight = found.tensors.get("head.predict.8.weight")
    channels = len(weight) if weight is not None and weight.ndim else 0
    count = anchors.shape[1]
    classes, rest = divmod(channels, count) if count else (0, 1)
    if rest or classes < 6:
        raise CheckpointError(f"its head gives {channels} values for {count} anchors, which is no box with classes for each")
    pixels = anchors.double() * anchors.new_tensor(STRIDES).double()[:, None, None]
    if not (pixels.isfinite().all() and (pixels > 0).all()):
        raise CheckpointError("its anchors are not sizes of boxes")
    return tuple(tuple((width, height) for width, height in rows) for rows in pixels.tolist()), classes - 5


def _recipe(network: Network) -> str:
    """Return the recipe whose shapes the network has."""
    stem = network.parts.tensors.get("backbone.stem.conv.weight")
    channels = len(stem) if stem is not None and stem.ndim else 0
    blocks = (
        sum(1 for name in _children(network.parts.modules["2.m"]) if name.isdecimal()) if "2.m" in network.parts.modules else 0
    )
    if (channels, blocks) not in RECIPES:
        raise CheckpointError(
            f"its stem has {channels} channels and its first stage {blocks} blocks, which is none of YOLOv5 n, s, m, l and x"
        )
    return RECIPES[channels, blocks]


def _options(network: Network) -> dict[str, Any]:
    """Return what differs from file to file: classes, anchors, activation, and what batch norm adds to the variance."""
    activations = {_kind(module) for path, module in network.parts.modules.items() if path.endswith(".act")}
    if len(activations) != 1 or not activations <= ACTIVATIONS.keys():
        raise CheckpointError(
            f"its activations are {', '.join(sorted(activations)) or 'none'}; one of {', '.join(ACTIVATIONS)} is read"
        )
    values = [module.get("eps") for path, module in network.parts.modules.items() if path.endswith(".bn")]
    added = {eps for eps in values if type(eps) is float and eps > 0}
    if len(added) != 1 or not all(type(eps) is float for eps in values):
        raise CheckpointError("its batch norms are missing (fused with the convolutions?), or differ in 'eps'")
    layer = {"activation": ACTIVATIONS[activations.pop()], "norm_eps": added.pop()}
    return {
        "num_classes": network.num_classes,
        "backbone": layer,
        "neck": layer,
        "head": {"anchors": network.anchors},
    }


def _names(model: Record, count: int) -> tuple[str, ...] | None:
    """Return the class names: a list, or as later releases have it a dict from numbers; None where there are none."""
    names = model.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if names is None:
        return None
    if not isinstance(names, list | tuple) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"its class names are not {count} texts, one for each class; give them yourself (--names)")
    return tuple(names)


def _children(module: Record) -> dict[str, Record]:
    """Return the parts of a module by name."""
    held = module.get("_modules")
    items: Iterator[tuple[Any, Any]] = iter(held.items() if isinstance(held, dict) else ())
    return {name: part for name, part in items if isinstance(name, str) and isinstance(part, Record)}


def _kind(module: Record) -> str:
    """Return the name of a class without that of its module."""
    return module.name.rpartition(".")[2][:100]


def _article(kind: str) -> str:
    return f"{'the' if kind == 'end' else 'a'} {kind}"


def _listed(content: dict[Any, Any]) -> str:
    names = [str(name)[:40] for name in list(content)[:4]]
    return ", ".join(names) + (", …" if len(content) > len(names) else "") or "nothing"
