"""YOLOv5 checkpoints, real and made: what is filled from them, and what every other layout is answered with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from zoo_core.build import build
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError, UnknownNameError
from zoo_core.importing import ImportRequest, import_model
from zoo_core.recipes import resolve
from zoo_yolo.importer_specs import YoloV5ImporterSpec
from zoo_yolo.v5_importer import LAYERS, PARTS, PLACES, SOURCES, YoloV5Importer

NAMES = ["Car", "Pedestrian", "Cyclist"]
STEMS = {"yolov5n": (16, 1), "yolov5s": (32, 1), "yolov5m": (48, 2), "yolov5l": (64, 3), "yolov5x": (80, 4)}


class Foreign:
    """Makes checkpoints as YOLOv5 writes them: pickled modules, of classes that are gone when they are read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = ""
        self.modules: dict[str, ModuleType] = {}

    def module(self, name: str, where: str = "models.common") -> nn.Module:
        """Return an empty module of a class of that name."""
        where = self.package + where
        home = self.modules.setdefault(where, ModuleType(where))
        if not hasattr(home, name):
            setattr(home, name, type(name, (nn.Module,), {"__module__": where}))
        made: nn.Module = getattr(home, name)()
        return made

    def put(self, parent: nn.Module, path: list[str], tensor: torch.Tensor, kind: str) -> None:
        """Put a tensor under its name here at its place there, in a module of class `kind`."""
        back = {ours: theirs for theirs, ours in PARTS.get(kind, {}).items()}
        name = back.get(path[0], path[0])
        if len(path) == 1:
            if name in ("weight", "bias"):
                parent.register_parameter(name, nn.Parameter(tensor.half()))
            else:
                parent.register_buffer(name, tensor.half() if tensor.is_floating_point() else tensor)
            return
        if name not in parent._modules:
            parent.add_module(name, self.child(kind, name))
        child = parent._modules[name]
        assert child is not None
        below = "Bottleneck" if name.isdecimal() and kind == "Sequential" else type(child).__name__
        self.put(child, path[1:], tensor, below)

    def child(self, kind: str, name: str) -> nn.Module:
        if name == "conv":
            return nn.Conv2d(1, 1, 1, bias=False)
        if name == "bn":
            return nn.BatchNorm2d(1, eps=0.001, momentum=0.03)
        if kind == "Conv":
            raise AssertionError(name)
        if name == "m" and kind == "C3":
            return nn.Sequential()
        return self.module("Bottleneck" if kind == "Sequential" else "Conv")

    def network(self, detector: Detector, act: nn.Module | None = None) -> nn.Module:
        """Return a detector as YOLOv5's module tree."""
        layers = [nn.Upsample(scale_factor=2) if kind == "Upsample" else self.module(kind) for kind in LAYERS[:-1]]
        detect = self.module("Detect", "models.yolo")
        state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
        for number, place in PLACES.items():
            for name in [name for name in state if name.startswith(f"{place}.")]:
                self.put(layers[number], name.removeprefix(f"{place}.").split("."), state.pop(name), LAYERS[number])
        for layer in layers:
            for part in layer.modules():
                if type(part).__name__ == "Conv":
                    part.add_module("act", act or nn.SiLU())
        maps = nn.ModuleList()
        for stride in (8, 16, 32):
            weight, bias = (state.pop(f"head.predict.{stride}.{name}") for name in ("weight", "bias"))
            maps.append(nn.Conv2d(weight.shape[1], weight.shape[0], 1).half())
            maps[-1].weight, maps[-1].bias = nn.Parameter(weight.half()), nn.Parameter(bias.half())
        assert not state, list(state)
        anchors = torch.tensor(detector.spec.head.anchors)  # type: ignore[attr-defined]
        detect.register_buffer("anchors", (anchors / torch.tensor([8.0, 16.0, 32.0])[:, None, None]).half())
        detect.add_module("m", maps)
        layers.append(detect)
        for number, sources in SOURCES.items():
            layers[number].f = sources  # type: ignore[assignment]
        model = self.module("Model", "models.yolo")
        model.add_module("model", nn.Sequential(*layers))
        return model

    def save(self, content: object, name: str = "x.pt") -> Path:
        path = self.folder / name
        parents = {name.rpartition(".")[0] for name in self.modules}
        parents |= {name.partition(".")[0] for name in parents}
        present = {name: ModuleType(name) for name in parents} | self.modules
        assert not present.keys() & sys.modules.keys()
        sys.modules.update(present)
        try:
            torch.save(content, path)
        finally:
            for module in present:
                del sys.modules[module]
        return path


@pytest.fixture
def foreign(tmp_path: Path) -> Foreign:
    return Foreign(tmp_path)


def rounded(recipe: str, names: list[str] | None = None, **head: object) -> Detector:
    """Return a detector with random weights that float16 can hold, norms included."""
    names = NAMES if names is None else names
    detector = build(resolve(recipe, {"num_classes": len(names), "head": head}), names)
    generator = torch.Generator().manual_seed(0)
    for tensor in detector.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator).half())
    return detector


@pytest.fixture(scope="module")
def nano() -> Detector:
    return rounded("yolov5n")


def read(path: Path, **options: object) -> Detector:
    return YoloV5Importer(YoloV5ImporterSpec()).read(ImportRequest(path, **options))  # type: ignore[arg-type]


def same(first: Detector, second: Detector) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_all_weights_come_from_the_file(foreign, nano) -> None:
    model = foreign.network(nano)
    model.names = NAMES
    found = read(foreign.save({"epoch": -1, "model": model, "ema": None}))
    assert same(found, nano)
    assert (found.recipe, found.class_names) == ("yolov5n", tuple(NAMES))
    assert {tensor.dtype for tensor in found.parameters()} == {torch.float32}
    assert found.spec.head.anchors == nano.spec.head.anchors  # type: ignore[attr-defined]


@pytest.mark.parametrize("recipe", ["yolov5s", "yolov5m"])
def test_the_recipe_is_found_from_the_shapes(foreign, recipe) -> None:
    detector = rounded(recipe)
    found = read(foreign.save({"model": foreign.network(detector)}))
    assert found.recipe == recipe
    assert same(found, detector)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("0.conv.weight", "backbone.stem.conv.weight"),
        ("2.cv1.conv.weight", "backbone.stages.0.block.main.conv.weight"),
        ("2.cv2.bn.running_var", "backbone.stages.0.block.side.norm.running_var"),
        ("4.cv3.conv.weight", "backbone.stages.1.block.merge.conv.weight"),
        ("6.m.2.cv1.conv.weight", "backbone.stages.2.block.blocks.2.reduce.conv.weight"),
        ("6.m.0.cv2.bn.bias", "backbone.stages.2.block.blocks.0.expand.norm.bias"),
        ("7.bn.weight", "backbone.stages.3.down.norm.weight"),
        ("9.cv1.conv.weight", "backbone.pool.reduce.conv.weight"),
        ("9.cv2.conv.weight", "backbone.pool.merge.conv.weight"),
        ("10.conv.weight", "neck.reduce.0.conv.weight"),
        ("13.cv2.conv.weight", "neck.up.0.side.conv.weight"),
        ("17.cv1.conv.weight", "neck.up.1.main.conv.weight"),
        ("18.conv.weight", "neck.down.0.conv.weight"),
        ("20.m.0.cv1.conv.weight", "neck.out.0.blocks.0.reduce.conv.weight"),
        ("21.conv.weight", "neck.down.1.conv.weight"),
        ("23.cv3.bn.running_mean", "neck.out.1.merge.norm.running_mean"),
        ("24.m.1.bias", "head.predict.16.bias"),
    ],
)
def test_each_tensor_goes_to_its_place(foreign, nano, theirs, ours) -> None:
    model = foreign.network(nano).requires_grad_(False)
    tensor = model.state_dict()[f"model.{theirs}"]
    tensor += 1
    found = read(foreign.save({"model": model})).state_dict()
    assert torch.equal(found[ours], tensor.float())
    assert [name for name in found if not torch.equal(found[name], nano.state_dict()[name])] == [ours]


def test_the_shapes_of_every_recipe_are_known() -> None:
    from zoo_yolo.v5_importer import RECIPES

    for recipe, (channels, blocks) in STEMS.items():
        with torch.device("meta"):
            detector = build(resolve(recipe))
        assert detector.state_dict()["backbone.stem.conv.weight"].shape[0] == channels
        assert sum(name.endswith("expand.conv.weight") for name in _first_stage(detector)) == blocks
        assert RECIPES[channels, blocks] == recipe


def _first_stage(detector: Detector) -> list[str]:
    return [name for name in detector.state_dict() if name.startswith("backbone.stages.0.block.blocks.")]


@pytest.mark.parametrize("package", ["", "yolov5.", "ultralytics."])
def test_later_formats(foreign, nano, package) -> None:
    """The class is `DetectionModel`, the names are a dict, the averaged weights stand beside the others."""
    import numpy as np

    foreign.package = package
    other, averaged = rounded("yolov5n"), foreign.network(nano)
    averaged.names = dict(enumerate(NAMES))
    where = f"{package}models.yolo"
    foreign.modules[where].DetectionModel = type("DetectionModel", (nn.Module,), {"__module__": where})
    averaged.__class__ = foreign.modules[where].DetectionModel
    with torch.no_grad():
        other.backbone.stem.conv.weight.zero_()  # type: ignore[union-attr]
    content = {
        "best_fitness": np.float64(0.3),
        "model": foreign.network(other),
        "ema": averaged,
        "opt": {"save_dir": Path("runs")},
    }
    found = read(foreign.save(content))
    assert same(found, nano)
    assert found.class_names == tuple(NAMES)


def test_anchors_of_the_file_count(foreign) -> None:
    anchors = (((8, 16), (16, 8)), ((32, 32), (64, 32)), ((128, 64), (256, 512)))
    detector = rounded("yolov5n", anchors=anchors)
    found = read(foreign.save({"model": foreign.network(detector)}))
    assert found.spec.head.anchors == anchors  # type: ignore[attr-defined]
    assert same(found, detector)


def test_class_names_of_the_caller_count(foreign, nano) -> None:
    model = foreign.network(nano)
    model.names = NAMES
    path = foreign.save({"model": model})
    assert import_model(path, class_names=["a", "b", "c"]).class_names == ("a", "b", "c")
    with pytest.raises(InputError, match=r"x\.pt: 3 classes need as many names, got 2: a, b"):
        import_model(path, class_names=["a", "b"])


@pytest.mark.parametrize("names", [["a"], {0: "a", 2: "b", 1: 3}, {5: "a"}, "abc"])
def test_class_names_that_do_not_fit(foreign, nano, names) -> None:
    model = foreign.network(nano)
    model.names = names
    with pytest.raises(CheckpointError, match="its class names are not 3 texts, one for each class; give them yourself"):
        read(foreign.save({"model": model}))


def test_without_names_there_are_numbers(foreign, nano) -> None:
    assert read(foreign.save({"model": foreign.network(nano)})).class_names == ("class 0", "class 1", "class 2")


def test_another_activation_is_taken_over(foreign, nano) -> None:
    found = read(foreign.save({"model": foreign.network(nano, nn.ReLU())}))
    assert found.spec.backbone.activation == found.spec.neck.activation == "relu"  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="its activations are Hardswish; one of SiLU, Mish, ReLU is read"):
        read(foreign.save({"model": foreign.network(nano, nn.Hardswish())}))


def test_what_batch_norm_adds_is_taken_over(foreign, nano) -> None:
    model = foreign.network(nano)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 0.25
    found = read(foreign.save({"model": model}))
    assert {part.eps for part in found.modules() if isinstance(part, nn.BatchNorm2d)} == {0.25}
    model.get_submodule("model.0.bn").eps = 0.5
    with pytest.raises(CheckpointError, match=r"its batch norms are missing .*, or differ in 'eps'"):
        read(foreign.save({"model": model}))


Change = Callable[[Foreign, nn.Module, nn.Sequential], None]


def _swap(number: int, kind: str) -> Change:
    def change(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
        layers[number] = foreign.module(kind)

    return change


def _kind(name: str) -> Change:
    def change(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
        model.__class__ = type(foreign.module(name, "models.yolo"))

    return change


def _more(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    layers.append(foreign.module("Conv"))


def _fewer(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    del layers[24]


def _rewired(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    layers[16].f = [-1, 3]


def _anchorless(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    del layers[24].anchors


def _narrow(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    layers[0].conv.weight = nn.Parameter(torch.zeros(24, 3, 6, 6))


def _fused(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    for layer in layers:
        for part in layer.modules():
            part._modules.pop("bn", None)


def _lost(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    del layers[9].cv2.conv.weight


def _endless(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    layers[2]._modules["m"] = layers[2]


def _wild(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    layers[0].conv.weight[0, 0, 0, 0] = float("nan")


def _flat(foreign: Foreign, model: nn.Module, layers: nn.Sequential) -> None:
    layers[24].anchors.zero_()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_swap(0, "Focus"), r"layer 0 is a Focus \(the stem of release 5 and earlier\) where YOLOv5 n, s, m, l and x of"),
        (_swap(2, "C2f"), r"layer 2 is a C2f \(a block of YOLOv8\) where .* have a C3"),
        (_swap(9, "Conv"), "layer 9 is a Conv where .* have a SPPF; models of other layouts are not read"),
        (_swap(24, "Segment"), r"layer 24 is a Segment \(a head for masks\)"),
        (_more, "layer 25 is a Conv where .* have the end"),
        (_fewer, "layer 24 is the end where .* have a Detect"),
        (_kind("SegmentationModel"), r"holds a models\.yolo\.SegmentationModel, which is no detector of YOLOv5"),
        (_rewired, r"layer 16 takes other layers than \[-1, 4\]"),
        (_anchorless, "its head has no anchors for three maps"),
        (_narrow, "its stem has 24 channels and its first stage 1 blocks, which is none of YOLOv5 n, s, m, l and x"),
        (_fused, "its batch norms are missing"),
        (
            _lost,
            r"does not fit recipe 'yolov5n': backbone\.pool\.merge\.conv\.weight has shape None, expected \(256, 512, 1, 1\)",
        ),
        (_endless, "its modules hold each other without end"),
        (_wild, r"backbone\.stem\.conv\.weight holds values that are not finite"),
        (_flat, "its anchors are not sizes of boxes"),
    ],
)
def test_another_layout_is_refused(foreign, nano, change, why) -> None:
    model = foreign.network(nano).requires_grad_(False)
    change(foreign, model, model._modules["model"])
    path = foreign.save({"model": model})
    with pytest.raises(CheckpointError, match=why) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"a": torch.ones(1)}, "holds a dict of a, and no network under 'model' or 'ema': it is no checkpoint of YOLOv5"),
        ({}, "holds a dict of nothing, and no network"),
        ([1], "holds a list, and no network"),
        ({"model": {"a": 1}}, "holds a dict of model, and no network"),
        ({"model": nn.Linear(1, 1)}, r"holds a torch\.nn\.modules\.linear\.Linear, which is no detector of YOLOv5"),
    ],
)
def test_a_checkpoint_without_a_network(foreign, content, why) -> None:
    with pytest.raises(CheckpointError, match=why):
        read(foreign.save(content))


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch '{self.marker}'",)


def test_a_checkpoint_that_would_run_something(foreign, nano, tmp_path) -> None:
    path = foreign.save({"model": foreign.network(nano), "hook": Evil(tmp_path / "marker")})
    with pytest.raises(
        CheckpointError, match=r"x\.pt names 'posix\.system', which is neither tensor nor plain data; nothing of it was"
    ):
        import_model(path)
    assert not (tmp_path / "marker").exists()


def test_a_recipe_that_is_given(foreign, nano) -> None:
    path = foreign.save({"model": foreign.network(nano)})
    assert read(path, recipe="yolov5n").recipe == "yolov5n"
    with pytest.raises(
        CheckpointError, match=r"does not fit recipe 'yolov5s': backbone\.stem\.conv\.weight has shape \(16, 3, 6, 6\)"
    ):
        read(path, recipe="yolov5s")
    with pytest.raises(UnknownNameError, match="did you mean 'yolov5n'"):
        read(path, recipe="yolov5nn")
    with pytest.raises(InputError, match=r"describes its network itself; leave out a\.cfg"):
        read(path, cfg=Path("a.cfg"))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.pt", b"PK\x03\x04", True),
        ("X.PT", b"\x80\x02", True),
        ("x.pt", b"text", False),
        ("x.pth", b"PK\x03\x04", False),
        ("x.pt", b"", False),
    ],
)
def test_it_knows_its_files(tmp_path, name, content, expected) -> None:
    (tmp_path / name).write_bytes(content)
    assert YoloV5Importer(YoloV5ImporterSpec()).recognises(tmp_path / name) is expected


@pytest.fixture(scope="module")
def official(shared: Path) -> Path:
    return shared / "data" / "weights" / "yolov5n" / "yolov5n.pt"


@pytest.mark.shared
def test_the_official_checkpoint(official) -> None:
    found = import_model(official)
    assert sum(parameter.numel() for parameter in found.parameters()) == 1_872_157
    assert (found.recipe, len(found.class_names), found.class_names[:2]) == ("yolov5n", 80, ("person", "bicycle"))
    assert found.spec == resolve("yolov5n")
    assert not found.training


@pytest.mark.shared
def test_a_picture_has_what_it_shows(official, shared) -> None:
    import json

    folder = shared / "data" / "coco_tiny80"
    annotations = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    model = import_model(official)
    names = {category["id"]: category["name"] for category in annotations["categories"]}
    image = annotations["images"][0]
    found = model.predict(folder / "val2017" / image["file_name"], score=0.5)[0]
    shown = {names[a["category_id"]] for a in annotations["annotations"] if a["image_id"] == image["id"]}
    assert len(found)
    assert {model.class_names[label] for label in found.labels} <= shown


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
