"""Files of other projects, and what is done to them. A new format is a new entry of `makes`."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.fuzz import judge
from tests.fuzz.damage import ESCAPE, NAMES, bent, broken
from tests.fuzz.folders import RECIPES
from tests.fuzz.recipes import fuzz_rcnn
from tests.plugins.rcnn.importers.foreign import detectron2, mmdetection
from tests.plugins.rcnn.importers.test_mmdetection_config import THREE, TWO
from tests.plugins.yolo.darknet.samples import TINY, random_weights, write_cfg
from tests.plugins.yolo.test_v5_importer import Foreign, rounded
from zoo_core.build import build
from zoo_core.detectors.detector import Detector
from zoo_core.importing import import_model, load_weights
from zoo_core.recipes import resolve
from zoo_yolo.darknet.weights import write

CLASSES = ("cat", "dog", "cow")
ORDERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int8)
Damage = Callable[[random.Random, "Seed", Path], Path]


@dataclass(frozen=True)
class Seed:
    """A good file of another project.

    Attributes:
        path: the file; the folder that it is in holds all that belongs to it, and nothing else.
        damages: what may be done to a copy of that folder: from a generator, the seed and the copied file to that to import.
        check: raises `judge.WrongError` where a detector is not the one of a file.
        options: what `import_model` is given along.
        content: what was written into the file, where `save` did.
        weight: how often this seed is taken.
        save: writes a content.
    """

    path: Path
    damages: tuple[Damage, ...]
    check: Callable[[Detector, Path], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    content: Any = None
    weight: int = 4
    save: Callable[[Any, Path], None] = torch.save


def makes(home: Path) -> list[Seed]:
    """Return a good file of every format that is read, written into folders of `home`."""
    torch.manual_seed(0)
    state = {name: tensor.contiguous() for name, tensor in build(fuzz_rcnn()).state_dict().items()}
    saved = (raw_bytes, raw_bytes, zipped, zipped, program, program, values, values, values, legacy, evil, strange)
    found = []
    contents = {
        "mmdetection2": {
            "meta": {"epoch": 12, "CLASSES": CLASSES, "config": anchors_of_ours(TWO)},
            "state_dict": mmdetection(state),
        },
        "mmdetection3": {
            "meta": {"dataset_meta": {"classes": CLASSES}, "cfg": anchors_of_ours(THREE)},
            "state_dict": mmdetection(state),
        },
        "torchvision": {"model": torchvision(state), "epoch": 26},
    }
    for name, content in contents.items():
        path = home / name / "x.pth"
        path.parent.mkdir(parents=True)
        torch.save(content, path)
        found.append(Seed(path, saved, stored, {"recipe": "fuzz_rcnn"}, content))
    pickled = home / "detectron2" / "x.pkl"
    pickled.parent.mkdir()
    content = {"model": detectron2(state), "__author__": "Detectron2 Model Zoo"}
    as_arrays(content, pickled)
    damages = (raw_bytes, program, program, values, values, values, evil, strange)
    found.append(Seed(pickled, damages, stored, {"recipe": "fuzz_rcnn"}, content, 4, as_arrays))
    whole = resolve(*RECIPES["rcnn"])
    imagenet = home / "imagenet" / "x.pth"  # a backbone alone
    imagenet.parent.mkdir()
    content = {"state_dict": {name: tensor.contiguous() for name, tensor in build(whole).backbone.body.state_dict().items()}}
    torch.save(content, imagenet)
    found.append(Seed(imagenet, saved, backbone_stored, {"like": whole}, content))
    nameless = home / "nameless" / "x.pth"  # whose backbone is no ResNet, and no recipe says what it is
    nameless.parent.mkdir()
    torch.save(contents["mmdetection2"], nameless)
    found.append(Seed(nameless, saved, stored, {}, contents["mmdetection2"], 1))
    yolo = home / "yolov5"
    yolo.mkdir()
    foreign = Foreign(yolo)
    file = foreign.save({"model": foreign.network(rounded("yolov5n"))})
    found.append(Seed(file, (raw_bytes, zipped, program, program), stored, {}, None, 2))
    darknet = home / "darknet"
    darknet.mkdir()
    found.append(Seed(random_weights(write_cfg(darknet, TINY)), (raw_bytes, floats, cfg, cfg, cfg, strange), rewritten))
    return found


def as_arrays(content: Any, path: Path) -> None:
    """Write a pickle whose tensors are arrays of NumPy, as Detectron2's model zoo has them."""

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            value = value[:1] if value.numel() > 10**7 else value  # arrays have no views
            return value.detach().float().numpy() if value.dtype == torch.bfloat16 else value.detach().numpy()
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return value

    path.write_bytes(pickle.dumps(plain(content), 2))


def anchors_of_ours(text: str) -> str:
    """Return a configuration with the three anchors that the recipes have."""
    return text.replace("[4, 8]", "[8]").replace("ratios=[1.0]", "ratios=[0.5, 1.0, 2.0]")


def torchvision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of ours under torchvision's names, the background first."""
    parts = {
        "backbone.body.": "backbone.body.",
        **{f"neck.lateral.{s}.": f"backbone.fpn.inner_blocks.{k}.0." for k, s in enumerate((4, 8, 16, 32))},
        **{f"neck.output.{s}.": f"backbone.fpn.layer_blocks.{k}.0." for k, s in enumerate((4, 8, 16, 32))},
        "proposer.conv.": "rpn.head.conv.0.0.",
        "proposer.objectness.": "rpn.head.cls_logits.",
        "proposer.deltas.": "rpn.head.bbox_pred.",
        "roi_head.shared.0.": "roi_heads.box_head.fc6.",
        "roi_head.shared.1.": "roi_heads.box_head.fc7.",
        "roi_head.classes.": "roi_heads.box_predictor.cls_score.",
        "roi_head.deltas.": "roi_heads.box_predictor.bbox_pred.",
    }
    found = {}
    for name, tensor in tensors.items():
        part = next(part for part in parts if name.startswith(part))
        if part == "roi_head.classes.":
            tensor = tensor.roll(1, 0)
        if part == "roi_head.deltas.":
            tensor = torch.cat([tensor[:4] * 0, tensor])
        found[parts[part] + name.removeprefix(part)] = tensor.clone()
    return found


def backbone_stored(model: Detector, path: Path) -> None:
    """Check that the values of the backbone of a detector are those of a file."""
    stored(model.backbone, path)


def stored(model: nn.Module, path: Path) -> None:
    """Check that the values of each tensor of a detector are those of a piece of a zip file of PyTorch, in whatever order.

    A tensor may be a view of a part of a piece; then all its values must be in that piece.
    """
    if not zipfile.is_zipfile(path):
        return  # the format before that
    with zipfile.ZipFile(path) as archive:
        pieces = [archive.read(name) for name in archive.namelist() if "/data/" in name]
    views = [torch.frombuffer(bytearray(p), dtype=o) for p in pieces for o in ORDERS if p and len(p) % o.itemsize == 0]
    by_length: dict[int, list[Tensor]] = {}
    for view in views:
        by_length.setdefault(len(view), []).append(view)
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue  # may be missing, and begins with 0
        flat = tensor.float().reshape(-1)
        if any(torch.equal(flat, view.float()) for view in by_length.get(len(flat), ())):
            continue
        ordered = flat.sort().values
        if any(torch.equal(ordered, view.float().sort().values) for view in by_length.get(len(flat), ())):
            continue
        if not any(_holds(view.float(), flat[:4]) and _holds(view.float(), flat) for view in views):
            raise judge.WrongError(f"imported, and {name} is not in the file")


def _holds(values: Tensor, some: Tensor) -> bool:
    return bool(torch.isin(some, values).all())


def rewritten(model: Detector, path: Path) -> None:
    """Check that a detector, written as Darknet's weights again, is the file."""
    again = path.with_name("again.weights")
    write(again, model)
    first, second = path.read_bytes(), again.read_bytes()
    if second[20:] not in (first[20:], first[16:]):
        raise judge.WrongError("imported, and its weights are not the file's")


def raw_bytes(rng: random.Random, seed: Seed, path: Path) -> Path:
    """Bytes anywhere in the file."""
    path.write_bytes(broken(rng, path.read_bytes()))
    return path


def _entries(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _zip(path: Path, entries: list[tuple[str, bytes]], rng: random.Random | None = None) -> Path:
    squeeze = rng is not None
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            kind = zipfile.ZIP_DEFLATED if squeeze and rng and rng.random() < 0.1 else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), data, kind)
    return path


def zipped(rng: random.Random, seed: Seed, path: Path) -> Path:
    """The entries of the zip file, with sums that are right: missing, twice, longer, renamed, packed."""
    entries = _entries(path)
    number = rng.randrange(len(entries))
    name, data = entries[number]
    kind = rng.randrange(8)
    if kind == 0:
        del entries[number]
    elif kind == 1:
        entries.append((name.replace("data/", "date/"), data))
    elif kind == 2:
        entries[number] = name, broken(rng, data)
    elif kind == 3:
        entries[number] = (
            rng.choice(("../../owned", "/tmp/owned", "x/data.pkl", "a" * 60_000, "archive/byteorder", name.upper())),
            data,
        )
    elif kind == 4:
        entries.append((rng.choice(("x/constants.pkl", "other/data.pkl", "x/code/owned.py")), b"\x80\x02K\x01."))
    elif kind == 5:
        entries[number] = name, bytes(rng.choice((0, 1, 10**6, 10**7)))
        return _zip(path, entries, rng)
    elif kind == 6:
        entries = [(name, bytes(value & 0x7F for value in data) if rng.random() < 0.1 else data) for name, data in entries]
        return _zip(path, entries, rng)
    else:  # sizes that are lies
        found = bytearray(_zip(path, entries).read_bytes())
        place = found.rfind(b"PK\x01\x02", 0, rng.randrange(len(found) // 2, len(found)))
        struct.pack_into("<I", found, max(place, 0) + rng.choice((16, 20, 24, 42)), rng.choice((0, 1, 2**31, 2**32 - 1)))
        path.write_bytes(found)
        return path
    return _zip(path, entries)


def program(rng: random.Random, seed: Seed, path: Path) -> Path:
    """The pickle, most often in a zip file: its instructions, or what they are given."""
    if not zipfile.is_zipfile(path):
        path.write_bytes(_reprogrammed(rng, path.read_bytes()))
        return path
    entries = _entries(path)
    number, (name, data) = next((k, entry) for k, entry in enumerate(entries) if entry[0].endswith("data.pkl"))
    entries[number] = name, _reprogrammed(rng, data)
    return _zip(path, entries)


def _reprogrammed(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.3:
        return broken(rng, data)
    found = bytearray(data)
    starts = [(place, opcode.name) for opcode, _, place in pickletools.genops(data)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        index = rng.randrange(len(starts) - 1)
        place, kind = starts[index]
        end = starts[index + 1][0]
        if kind in ("BININT1", "BININT", "BININT2"):
            numbers = (bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", rng.randbytes(4))
            found[place + 1 : end] = rng.choice(numbers)[: end - place - 1]
        elif kind == "BINUNICODE" and end - place > 5:
            found[place + 5 + rng.randrange(end - place - 5)] ^= 1 << rng.randrange(5)
        elif end - place == 1:
            found[place] = rng.choice(b"()RQ0.}]tbsuaelQ\x85\x86\x87\x88\x89N1")
    return bytes(found)


def values(rng: random.Random, seed: Seed, path: Path) -> Path:
    """What was saved: tensors of other shapes, types, names and values; other things beside them."""
    content = dict(seed.content)
    key = "state_dict" if "state_dict" in content else "model"
    weights = dict(content[key])
    for _ in range(rng.choice((1, 1, 2, 6))):
        name = rng.choice(list(weights))
        tensor = weights[name]
        weights[name] = _other(rng, tensor) if isinstance(tensor, Tensor) and tensor.numel() < 10**7 else None
        if rng.random() < 0.2:
            weights[rng.choice((*NAMES[:20], f"module.{name}", f"{name}.x", f"ema_{name}"))] = weights.pop(name)
        if rng.random() < 0.1:
            weights.pop(name, None)
    content[key] = weights
    kind = rng.randrange(6)
    if kind == 0 and "meta" in content:
        content["meta"] = bent(rng, content["meta"])
    elif kind == 1:
        content["meta"] = {
            "CLASSES": rng.choice(((ESCAPE, "b", "c"), ("a", "a", "b"), ["x" * 10**6, "y", "z"], 7, "abc", ("a",), [None] * 3))
        }
    elif kind == 2:
        content["meta"] = {"config": rng.choice(CONFIGS), "CLASSES": CLASSES}
    elif kind == 3:
        content = rng.choice((weights, [weights], {key: [weights]}, {key: {key: weights}}, (weights,), {7: weights}, {key: {}}))
    if rng.random() < 0.05:
        content = {key: dict.fromkeys(weights, torch.zeros(()))}
    seed.save(content, path)
    return path


CONFIGS = (
    "model = dict(neck=dict(num_outs=10**9))",
    "model = " + "[" * 5_000,
    "model = " + "-" * 50_000 + "1",
    "x = '" + "a" * 2**21 + "'",
    "model = dict(type='FasterRCNN', rpn_head=dict(anchor_generator=dict(scales=[" + "8," * 100_000 + "])))",
    "model = dict(type='FasterRCNN', rpn_head=dict(anchor_generator=dict(scales=[float('nan')], ratios=[1e999])))",
    "model = dict(type='FasterRCNN', roi_head=dict(bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=1000000))))",
    "test_cfg = dict(rpn=dict(nms_pre=10000000000000000000000, nms=dict(type='nms', iou_threshold=-5)))",
    "model = dict(data_preprocessor=dict(mean=[1e308, 0, 0], std=[0, 0, 0], pad_size_divisor=0))",
    "test_pipeline = [dict(type='Resize', scale=(100000000, 1), keep_ratio=True)]",
    "test_pipeline = [" + "dict(type='a', transforms=[" * 90 + "])" * 90 + "]",
    f"model = dict(type='{ESCAPE}')",
    "__import__('os').system('touch owned')",
    "model = {**{}, 'type': 'FasterRCNN'}",
    "\x00",
    "\ud800",
)


def _other(rng: random.Random, tensor: Tensor) -> Any:  # noqa: C901
    kind = rng.randrange(12)
    if kind <= 1:
        return tensor.to(rng.choice((torch.float16, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64)))
    if kind == 2:
        return tensor.reshape(rng.choice(((-1,), (1, *tensor.shape), (*tensor.shape, 1), tuple(tensor.shape[::-1]))))
    if kind == 3:
        return tensor[:1] if tensor.ndim else tensor.reshape(1)
    if kind == 4:
        return torch.cat([tensor, tensor]) if tensor.ndim else tensor
    if kind == 5:
        return (
            torch.full_like(tensor, rng.choice((torch.nan, torch.inf, 1e38)))
            if tensor.is_floating_point()
            else tensor.long() - 2**62
        )
    if kind == 6:
        return tensor.new_zeros(0, *tensor.shape[1:])
    if kind == 7:
        return tensor.transpose(0, 1) if tensor.ndim > 1 else tensor
    if kind == 8:
        return rng.choice((None, 3, "x", [tensor], {"a": tensor}, torch.float32, torch.Size([1])))
    if kind == 9:
        return torch.zeros(1).expand(10**6, 10**6)  # a terabyte, in four bytes
    if kind == 10:
        return torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor
    return tensor.new_zeros(rng.choice(((1,), (2, 2), (1, 1, 1, 1), (10**6,), (300, 1), (1,) * 12)))


def legacy(rng: random.Random, seed: Seed, path: Path) -> Path:
    """The format before zip files, in which nothing is summed up."""
    torch.save(seed.content, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    head = rng.choice((len(data), 20_000, 500))  # most damage lies in the weights, unless it is aimed
    path.write_bytes(broken(rng, data[:head]) + data[head:])
    return path


class Evil:
    """Pickles to a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def evil(rng: random.Random, seed: Seed, path: Path) -> Path:
    """Calls of functions, and structures that take all time or memory."""
    nested: Any = []
    for _ in range(rng.choice((10, 300))):
        nested = [nested, nested]
    loop: list[Any] = []
    loop.append(loop)
    thing = rng.choice(
        (
            Evil(os.system, "touch owned"),
            Evil(eval, "open('owned', 'w')"),
            Evil(bytearray, 10**12),
            Evil(torch.zeros, 10**6, 10**6),
            Evil(getattr, "x", "load"),
            Evil(print, "\x1b[31m"),
            nested,
            loop,
            dict.fromkeys(range(200000)),
            "x" * 10**7,
            10**4_000,
            bytes(10**6),
            torch.Generator,
        )
    )
    content = dict(seed.content)
    key = rng.choice((*content, "optimizer", "meta"))
    content[key] = (
        thing
        if rng.random() < 0.5
        else {**dict(content.get(key, {}) if isinstance(content.get(key), dict) else {}), "x": thing}
    )
    if seed.save is not torch.save or rng.random() < 0.7:
        seed.save(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def strange(rng: random.Random, seed: Seed, path: Path) -> Path:
    """Something else under the name of the file."""
    path.unlink()
    kind = rng.randrange(8)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", "nowhere", path.name, "/", "/proc/self/mem")))
    elif kind == 3:
        path.write_bytes(
            rng.choice((b"", b"\x80", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x80\x02.", b"GIF89a", bytes(10**6)))
        )
    elif kind == 4:
        path.write_bytes(b"\x80\x02" + rng.choice((b"(", b"]q\0", b"K\x01", b"\x85")) * 10**6 + b".")
    elif kind == 5:
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x/data.pkl", bytes(50_000_000))
        path.write_bytes(whole.getvalue())
    elif kind == 6:
        path.write_bytes(seed.path.read_bytes() * 2)
    else:
        other = path.with_suffix(rng.choice((".pt", ".pth", ".weights", ".bin", ".pkl", ".safetensors", "")))
        shutil.copy(seed.path, other)
        return other
    return path


def floats(rng: random.Random, seed: Seed, path: Path) -> Path:
    """A number among the weights that is none, or one too many or too few."""
    data = bytearray(path.read_bytes())
    place = 20 + 4 * rng.randrange((len(data) - 20) // 4)
    data[place : place + 4] = struct.pack("<f", rng.choice((float("nan"), float("inf"), -1e30, 1e38, 0.0)))
    path.write_bytes(bytes(data) if rng.random() < 0.7 else bytes(data[: -rng.choice((1, 4, 400))]))
    return path


def cfg(rng: random.Random, seed: Seed, path: Path) -> Path:
    """The description beside the weights."""
    file = path.with_suffix(".cfg")
    lines = file.read_text().splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        number = rng.randrange(len(lines))
        name = lines[number].partition("=")[0]
        big = rng.choice(
            (
                "0",
                "-1",
                "1e9",
                "65536",
                "1000000000",
                "99999999999999999999",
                "nan",
                "x",
                "1,2,3",
                "1," * 10**5,
                ESCAPE,
                "9" * 10**6,
            )
        )
        changed = (
            f"{name}={big}",
            f"[{name}]",
            "",
            f"{lines[number]}\n{lines[number]}",
            "[convolutional]\nfilters=60000\nsize=900\n" * 3,
        )
        lines[number] = rng.choice((*changed[:1] * 6, *changed))
    text = "\n".join(lines)
    if rng.random() < 0.2:
        file.write_bytes(
            rng.choice(
                (broken(rng, text.encode()), text.encode("utf-16"), b"", b"\0", b"[net]\n" + b"[route]\nlayers=-1\n" * 20_000)
            )
        )
    else:
        file.write_text(text)
    return path


class Files:
    """Cases of files of other projects."""

    def __init__(self, home: Path) -> None:
        self.seeds = makes(home / "good")
        self.bad = home / "bad"
        self.largest = max(path.stat().st_size for path in (home / "good").rglob("*"))
        self.receiver = build(fuzz_rcnn(), CLASSES)

    def warm(self) -> None:
        """Import every good file once."""
        for seed in self.seeds:
            if seed.weight > 1:
                model = import_model(seed.path, **seed.options)
                seed.check(model, seed.path)
                judge.runs(model)

    def run(self, rng: random.Random, begin: Callable[[], None]) -> tuple[str, str]:
        """Damage a file, call `begin`, import it; return what was done to it and what became of it."""
        shutil.rmtree(self.bad, ignore_errors=True)
        (seed,) = rng.choices(self.seeds, [seed.weight for seed in self.seeds])
        damage = rng.choice(seed.damages)
        folder = Path(shutil.copytree(seed.path.parent, self.bad))
        what = f"{seed.path.parent.name}, {damage.__name__}"
        path = damage(rng, seed, folder / seed.path.name)
        begin()
        return what, self._imported(rng, seed, path)

    def _imported(self, rng: random.Random, seed: Seed, path: Path) -> str:
        try:
            if rng.random() < 0.1:
                load_weights(self.receiver, path)
                return f"carried over; {judge.runs(self.receiver)}"
            model = import_model(path, **seed.options)
        except Exception as error:
            return judge.refused(error)
        seed.check(model, path)
        return judge.runs(model)
