"""Small networks, and files of weights that chance fills."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo_yolo.darknet.network import read_network
from zoo_yolo.darknet.specs import ConvolutionSpec, ShortcutSpec

TINY = """\
[net]
width=32
height=64
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=mish

[convolutional]
batch_normalize=1
filters=8
size=3
stride=1
groups=4
pad=1
activation=leaky

[shortcut]
from=-2
activation=linear

[route]
layers=-1
groups=2
group_id=1

[maxpool]
size=2
stride=2

[dropout]
probability=.25

[convolutional]
filters=6
size=1
stride=1
activation=swish

[convolutional]
filters=14
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=1,2
anchors=4,6, 10,14, 23,27
classes=2
num=3

[route]
layers=-3

[upsample]
stride=2

[route]
layers=-1, 2

[convolutional]
filters=7
size=1
stride=1
activation=linear

[yolo]
mask=0
anchors=4,6, 10,14, 23,27
classes=2
num=3
scale_x_y=1.1
"""
"""All kinds of layers; two maps, of strides 4 and then 2, with two anchors and one, for two classes."""
TINY_VALUES = (8 * 27 + 32) + (8 * 2 * 9 + 32) + (6 * 4 + 6) + 14 * 7 + 7 * 15


def write_cfg(folder: Path, text: str = TINY) -> Path:
    """Write the text of a network to a file."""
    path = folder / "net.cfg"
    path.write_text(text)
    return path


def resized(source: Path, folder: Path, width: int, height: int) -> Path:
    """Return a copy of a ``.cfg`` for another size of its input."""
    sizes = {"width": width, "height": height}
    words = [(line.partition("=")[0].strip(), line) for line in source.read_text().splitlines()]
    changed = [f"{name}={sizes[name]}" if name in sizes else line for name, line in words]
    path = folder / source.name
    path.write_text("\n".join(changed))
    return path


def random_weights(cfg: Path, seed: int = 0, path: Path | None = None) -> Path:
    """Write a file of weights for a network, such that its maps have values of about 1; return its path."""
    network = read_network(cfg)
    chance = np.random.default_rng(seed)
    path = cfg.with_suffix(".weights") if path is None else path
    with path.open("wb") as file:
        file.write(np.array([0, 2, 5], "<i4").tobytes() + np.array([64_000], "<i8").tobytes())

        def put(*parts: np.ndarray) -> None:
            for part in parts:
                file.write(part.astype("<f4", copy=False).tobytes())

        def normal(deviation: float, count: int) -> np.ndarray:
            return chance.standard_normal(count, np.float32) * np.float32(deviation)

        yolos = dict(zip(network.body.outputs, network.yolos, strict=True))
        for place, layer in enumerate(network.body.layers):
            if isinstance(layer, ConvolutionSpec):
                channels = (3 if place == 0 else network.body.maps[place - 1][0]) // layer.groups
                put(normal(0.2, layer.filters))
                if layer.norm:
                    # What is added to another map is less, or the sums would grow from block to block.
                    added = any(isinstance(later, ShortcutSpec) for later in network.body.layers[place + 1 : place + 3])
                    scale = chance.uniform(0.8, 1.2, layer.filters) * (0.3 if added else 1.0)
                    put(scale, normal(0.2, layer.filters), chance.uniform(0.5, 1.5, layer.filters))
                fan_in = channels * layer.size**2
                put(normal((1.6 / fan_in) ** 0.5, layer.filters * fan_in))
            if place in yolos:
                channels, filters = network.body.maps[place][0], len(yolos[place].anchors) * (5 + yolos[place].classes)
                put(normal(0.5, filters), normal(channels**-0.5, filters * channels))
    return path
