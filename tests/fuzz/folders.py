"""Saved detectors of several makes, and what is done to their folders."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.fuzz import judge
from tests.fuzz.damage import ESCAPE, NAMES, NUMBERS, bent, broken
from zoo_core import hub, provenance, remote
from zoo_core.build import build
from zoo_core.card import CARD
from zoo_core.importing import load_weights
from zoo_core.recipes import resolve

RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "one": ("plain_one_stage", {}),
    "two": ("plain_two_stage", {"neck": {"width": 6}}),
    "yolo": (
        "yolov5n",
        {
            "num_classes": 3,
            "backbone": {"width": 0.02, "depth": 0.1},
            "neck": {"depth": 0.1},
            "preprocess": {"long_side": 64, "short_side": 64},
        },
    ),
    "rcnn": (
        "faster_rcnn_r18_fpn",
        {
            "num_classes": 3,
            "backbone": "test_efficientnet",
            "neck": {"width": 4},
            "roi_head": {"width": 8, "roi_size": 2},
            "preprocess": {"long_side": 64, "short_side": 64},
        },
    ),
}
"""Small detectors: of the core's stubs, and of the plugins."""
DTYPES = ("F16", "BF16", "F64", "I8", "U8", "I64", "BOOL", "F8_E4M3", "F8_E5M2", "F4", "C64", "f32", "", "F32" * 1000, 7, None)
BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
HEADS = (
    BOMB,
    "x: !!python/object/apply:os.system [touch owned]\n",
    "x: !!python/object/new:subprocess.Popen [[touch, owned]]\n",
    "x: &x [*x]\n",
    "[" * 5_000 + "\n",
    "x: " + "9" * 100_000 + "\n",
    "? [a, b]\n: c\n",
    "- a\n- b\n",
    "tags: 3\nmodel-index: [3]\n",
    "model-index: [{results: [{dataset: {}, metrics: [{type: x, value: .nan}]}]}]\n",
    f"title: {ESCAPE}\n",
    "a: b: c\n",
    "\tx: y\n",
    "x: 2026-99-99\n",
    "k: v\n" * 60_000,
)


class Folders:
    """Cases of a saved folder: a place where good ones lie, and one where they are damaged."""

    def __init__(self, home: Path) -> None:
        self.good, self.bad = home / "good", home / "bad"
        torch.manual_seed(0)
        for name, (recipe, options) in RECIPES.items():
            model = build(resolve(recipe, options), ("Car", "Radfahrer ü", "Tree"))
            model.recipe = recipe
            hub.save(model.eval(), self.good / name)
        self.names = sorted(RECIPES)
        self.largest = max(path.stat().st_size for path in self.good.rglob("*"))
        self.receiver = build(resolve("plain_two_stage", {}), ("Car", "Dog", "Tree"))

    def warm(self) -> None:
        """Load every good folder once."""
        for name in self.names:
            judge.same(remote.load(self.good / name), self.good / name)

    def run(self, rng: random.Random, begin: Callable[[], None]) -> tuple[str, str]:
        """Damage a folder, call `begin`, open it; return what was done to it and what became of it."""
        shutil.rmtree(self.bad, ignore_errors=True)
        seed, damage = rng.choice(self.names), rng.choice(DAMAGES)
        folder = Path(shutil.copytree(self.good / seed, self.bad / "model"))
        what = f"{seed}, {damage.__name__}"
        try:
            damage(rng, folder)
            begin()
            return what, self._opened(rng, folder)
        finally:
            folder.chmod(0o700)

    def _opened(self, rng: random.Random, folder: Path) -> str:
        try:
            way = rng.randrange(8)
            if way == 0:
                hub.read_config(hub.locate(folder))
            if way == 1:
                load_weights(self.receiver, folder)
                return f"carried over; {judge.runs(self.receiver)}"
            if way == 2:  # as a new model over this one, whose card is read
                hub.save(self.receiver, folder)
                return judge.same(remote.load(folder), folder)
            model = remote.load(folder)
        except Exception as error:
            return judge.refused(error)
        return judge.same(model, folder)


def config_bytes(rng: random.Random, folder: Path) -> None:
    """Bytes of the description."""
    _rewrite(folder / hub.CONFIG, broken(rng, (folder / hub.CONFIG).read_bytes()))


def config_tree(rng: random.Random, folder: Path) -> None:
    """Values of the description."""
    _write(folder, bent(rng, _config(folder)))


def config_sizes(rng: random.Random, folder: Path) -> None:
    """Numbers of the description, so that much memory or time is asked for."""
    config = _config(folder)
    spots: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in pairs:
            if isinstance(inner, int | float | list) and not isinstance(inner, bool):
                spots.append((value, key))
            walk(inner)

    walk(config["spec"])
    for holder, key in rng.sample(spots, min(len(spots), rng.choice((1, 1, 2, 5)))):
        large = rng.choice([number for number in NUMBERS if number > 500])
        if not isinstance(holder[key], list):
            holder[key] = large
        else:
            many = [2**k for k in range(rng.choice((3, 40, 3_000)))]
            longer = holder[key] * rng.choice((2, 1_000, 10**5)) if len(str(holder[key])) < 100 else many
            holder[key] = rng.choice((many, longer))
    if rng.random() < 0.2:
        classes = rng.choice((1, 4, 1_000, 100_000, 100_001, 10**6))
        config["spec"]["num_classes"] = classes
        config["class_names"] = [f"c{k}" for k in range(classes)]
    _write(folder, config)


def config_parts(rng: random.Random, folder: Path) -> None:
    """Other parts, or names that are none."""
    config = _config(folder)
    slots = [(config["spec"], name) for name, value in config["spec"].items() if isinstance(value, dict)]
    slots += [(inner[name], deep) for inner, name in slots for deep, v in inner[name].items() if isinstance(v, dict)]
    holder, name = rng.choice(slots)
    kind = rng.choice((*NAMES, *PARTS, *PARTS))
    holder[name] = rng.choice(({"type": kind}, {**holder[name], "type": kind}, kind))
    if rng.random() < 0.1:
        config["spec"]["type"] = kind
    _write(folder, config)


PARTS = (
    *("resnet18", "blocks", "even", "fpn", "csp_darknet53_tiny", "c3_darknet", "c3_pan", "rpn", "box_head", "yolo_head"),
    *("plain_head", "pool_head", "max_iou", "first", "stretch", "keep_ratio", "darknet", "test_resnet", "test_vit", "vgg11"),
)


def config_forms(rng: random.Random, folder: Path) -> None:
    """The description in other encodings, with keys twice, deep, long or with what JSON has not."""
    path = folder / hub.CONFIG
    text = path.read_text(encoding="utf-8")
    forms: tuple[Callable[[], bytes], ...] = (
        lambda: b"\xef\xbb\xbf" + text.encode(),
        lambda: text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7"))),
        lambda: text.replace("{", '{"format": 2, ', 1).encode(),
        lambda: text.replace('"spec": {', '"spec": {"type": "os.system"}, "spec": {', 1).encode(),
        lambda: text.replace(
            '"num_classes": 3', f'"num_classes": {rng.choice(("NaN", "Infinity", "1e999", "3.0", "03", "0x3", "9" * 5_000))}'
        ).encode(),
        lambda: (text[: text.rindex("}")] + ', "x": ' + "[" * 10**6 + "}").encode(),
        lambda: (text[: text.rindex("}")] + ', "recipe": "' + "x" * 10**7 + '"}').encode(),
        lambda: text.encode() + b" " * rng.choice((1, 10**6, 3 * 10**7)),
        lambda: text.encode() + text.encode(),
        lambda: (text[: text.rindex("}")] + ', "x": [' + ",".join(['{"a":{}}'] * rng.choice((10**5, 230_000))) + "]}").encode(),
        lambda: text.replace(
            "Car", rng.choice(("\\u001b[31m", "\\u0000", "\\ud800", "Radfahrer ü", " ", "", "\\u202e", "é" * 10**6))
        ).encode(),
        lambda: text.replace(
            '"format": 1',
            f'"format": {rng.choice(("2", "0", "1.0", "true", "99999999999", "null", chr(34) + "x" * 10**6 + chr(34)))}',
        ).encode(),
        lambda: text.replace('"zoo-core": "', f'{json.dumps(rng.choice(NAMES))}: "1", "zoo-core": "').encode(errors="replace"),
        lambda: text.replace('"type": "', f'"weights": "/etc/passwd", "type": "{rng.choice(("", "x"))}', 1).encode(),
    )
    path.write_bytes(rng.choice(forms)())


def weights_bytes(rng: random.Random, folder: Path) -> None:
    """Bytes of the weights, most of them numbers."""
    path = folder / hub.WEIGHTS
    _rewrite(path, broken(rng, path.read_bytes()))


def weights_data(rng: random.Random, folder: Path) -> None:
    """One bit of a number, or a number that is none."""
    path = folder / hub.WEIGHTS
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    place = start + rng.randrange((len(data) - start) // 4) * 4
    if rng.random() < 0.5:
        data[place + rng.randrange(4)] ^= 1 << rng.randrange(8)
    else:
        data[place : place + 4] = struct.pack(
            "<f", rng.choice([n for n in NUMBERS if (isinstance(n, float) and abs(n) < 1e38) or n != n])
        )
    _rewrite(path, bytes(data))


def weights_types(rng: random.Random, folder: Path) -> None:
    """Whole tensors of another type, or of values that the type of the model cannot hold."""
    path = folder / hub.WEIGHTS
    tensors = load_file(path)
    for name in rng.sample(sorted(tensors), rng.choice((1, len(tensors)))):
        kind = rng.choice((torch.float64, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int64, torch.bool))
        tensors[name] = tensors[name].to(kind) * (rng.choice((1, 1e300)) if kind == torch.float64 else 1)
    save_file(tensors, path)


def weights_header(rng: random.Random, folder: Path) -> None:
    """Bytes of the header, or its length."""
    path = folder / hub.WEIGHTS
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.3:
        lengths = (0, 1, size - 1, size + 1, len(data), 10**8, 10**8 + 1, 2**31, 2**40, 2**63, 2**64 - 1)
        _rewrite(path, rng.choice(lengths).to_bytes(8, "little") + data[8:])
    else:
        head = broken(rng, data[8 : 8 + size])
        head = head if rng.random() < 0.5 else head[:size].ljust(size)
        _rewrite(path, len(head).to_bytes(8, "little") + head + data[8 + size :])


def weights_tree(rng: random.Random, folder: Path) -> None:  # noqa: C901
    """What the header says: offsets, shapes, types, names."""
    path = folder / hub.WEIGHTS
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    head, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    entries = [name for name in head if name != "__metadata__"]
    name, other = rng.choice(entries), rng.choice(entries)
    start, end = head[name]["data_offsets"]
    kind = rng.randrange(12)
    if kind == 0:
        head[name]["data_offsets"] = list(head[other]["data_offsets"])
    elif kind == 1:
        head[name]["data_offsets"] = rng.choice(
            ([end, start], [start, end + 4], [0, 2**40], [-1, 3], [start], [start, 2**64], None, [start, 1e3])
        )
    elif kind == 2:
        head[name]["dtype"] = rng.choice(DTYPES)
    elif kind == 3:
        shape = head[name]["shape"]
        head[name]["shape"] = rng.choice(
            (
                shape[::-1],
                [*shape, 1],
                [1, *shape],
                [(end - start) // 4],
                [],
                [10**12],
                [0],
                [-1],
                [2**32, 2**32],
                shape * 30,
                "x",
            )
        )
    elif kind == 4:
        del head[name]
    elif kind == 5:
        head[rng.choice(NAMES)] = head.pop(name)
    elif kind == 6:
        head[rng.choice(NAMES)] = dict(head[name])
    elif kind == 7:
        head["__metadata__"] = rng.choice(
            ({"format": "tf"}, {"x": "y" * 10**6}, {"a": 1}, [], None, {str(k): "" for k in range(10**4)})
        )
    elif kind == 8:
        head[f"{name}.more"] = {"dtype": "F32", "shape": [0], "data_offsets": [len(body), len(body)]}
    elif kind == 9:
        body += bytes(4 * rng.choice((1, 1_000)))
    elif kind == 10:
        head |= {
            f"t{k}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(rng.choice((10, 20_000, 40_000)))
        }
    else:
        head = bent(rng, head)
    text = json.dumps(head).encode()
    if rng.random() < 0.1:  # a name twice
        text = text[:-1] + b"," + text[1:]
    _rewrite(path, len(text).to_bytes(8, "little") + text + body)


def card(rng: random.Random, folder: Path) -> None:
    """The card, above all the metadata at its top."""
    path = folder / CARD
    text = path.read_bytes()
    kind = rng.randrange(4)
    if kind == 0:
        text = broken(rng, text)
    elif kind == 1:
        text = b"---\n" + rng.choice(HEADS).encode() + b"---\nText.\n"
    elif kind == 2:
        text = text.replace(b"---\n", b"---\n" + rng.choice(HEADS).encode(), 1)
    else:
        text = rng.choice(
            (b"", b"\0" * 1_000, b"\xff\xfe", b"---\n" * 1_000, b"-" * 10**6, b"x" * (2**20 + 1), b"---\nx: y\n---")
        )
    path.write_bytes(text)
    if rng.random() < 0.5:
        data = rng.choice(
            (b"{}", b"[", b'{"data": {"name": 1}, "options": {}, "versions": {}}', rng.randbytes(100), b"[" * 10**5)
        )
        (folder / "training.json").write_bytes(data)


def training(rng: random.Random, folder: Path) -> None:
    """What the weights were trained on."""
    path = folder / provenance.FILE
    path.write_text(json.dumps(bent(rng, TRAINING)))
    if rng.random() < 0.3:
        path.write_bytes(broken(rng, path.read_bytes()))


TRAINING = {
    "step": 300,
    "processes": 1,
    "options": {"steps": 300, "seed": 0, "augment": {"flip": 0.5}},
    "data": {"name": "kitti", "split": "train", "images": 7, "class_names": ["Car", "Tree"]},
    "versions": {"zoo-core": "0.1.0", "torch": "2.5"},
    "began": {"kind": "hub", "name": "org/name", "commit": "0" * 40},
}


def files(rng: random.Random, folder: Path) -> None:
    """Links, folders, pipes, files that nobody may read, and files that are not there."""
    path = folder / rng.choice((hub.CONFIG, hub.CONFIG, hub.WEIGHTS, hub.WEIGHTS, CARD, provenance.FILE, "step-0000002"))
    if path.exists():
        path.unlink()
    targets = ("/etc/passwd", "/", "..", "/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/mem", "nowhere", path.name)
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: path.symlink_to(rng.choice(targets)),
        lambda: path.symlink_to(rng.choice(targets)),
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: (path.write_bytes(b"{}"), path.chmod(0)),
        path.touch,
        lambda: path.write_bytes(bytes(1_000)),
        lambda: (folder / "pytorch_model.bin").write_bytes(b"\x80\x02cos\nsystem\n(S'touch owned'\ntR."),
        lambda: path.symlink_to(folder.parent.parent / "good" / "one" / path.name),
    )
    rng.choice(kinds)()
    if rng.random() < 0.2:
        (folder / rng.choice(("evil.py", "a\nb", "\udcff", "-rf", "zoo_core.py", "step-0000001"))).mkdir()


DAMAGES: tuple[Callable[[random.Random, Path], None], ...] = (
    *(config_bytes, config_tree, config_tree, config_sizes, config_sizes, config_parts, config_forms),
    *(weights_bytes, weights_data, weights_types, weights_header, weights_tree, weights_tree, card, training, files),
)


def _config(folder: Path) -> Any:
    return json.loads((folder / hub.CONFIG).read_text(encoding="utf-8"))


def _write(folder: Path, config: Any) -> None:
    (folder / hub.CONFIG).write_text(json.dumps(config), encoding="utf-8")


def _rewrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)
