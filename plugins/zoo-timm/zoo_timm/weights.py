"""ImageNet weights from a file: the style of its keys is recognised and translated to timm's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo_core.errors import CheckpointError
from zoo_core.hub import sound
from zoo_core.pickles.checkpoint import read_checkpoint
from zoo_core.report import LoadReport
from zoo_core.tensor_file import opened

Weights = dict[str, Tensor]
PACKAGES = ("torch.", "torchvision.", "timm.", "numpy.", "argparse.", "pathlib.")
"""Where the classes of what lies beside the weights come from; their objects become records."""
PLACES = ("state_dict", "model")
COUNT = "num_batches_tracked"
WRAPPERS = ("module.", "backbone.", "model.")
"""What may stand before all names."""


def load_weights(body: nn.Module, path: str | Path) -> LoadReport:
    """Load a file of ImageNet weights into a backbone, and return what became of each tensor.

    Layers behind the last feature map are left out.

    Raises:
        CheckpointError: the file is missing or unreadable, or the translated keys and shapes are not those of `body`.
    """
    path = Path(path)
    weights = read_weights(path)
    own = body.state_dict()
    found = ((style, translate(weights, own)) for style, translate in STYLES.items())
    style, translated = next(((style, t) for style, t in found if t is not None), ("", None))
    if translated is None:
        raise CheckpointError(
            f"{path}: the keys (first: {', '.join(list(weights)[:3])}) are of another network, or of no known style; "
            f"known are {', '.join(STYLES)}"
        )
    missing = [key for key in own if key not in translated]
    wrong = [k for k in own if k in translated and own[k].shape != translated[k].shape]
    if bad := [key for key in missing if not key.endswith(COUNT)] + wrong:
        key = bad[0]
        what = f"has shape {tuple(translated[key].shape)} instead of {tuple(own[key].shape)}" if key in wrong else "is missing"
        raise CheckpointError(f"{path} ({style} keys) does not fit the backbone: {key} {what} (and {len(bad) - 1} more)")
    with torch.no_grad():
        for key, tensor in own.items():
            if key in translated:
                tensor.copy_(sound(translated[key], tensor, key, path))
    return _report(weights, {key: translated[key] for key in own if key in translated}, missing)


def _report(weights: Weights, taken: Weights, missing: list[str]) -> LoadReport:
    names = {id(tensor): name for name, tensor in weights.items()}
    sources = {key: names[id(tensor)] for key, tensor in taken.items()}
    used = set(sources.values())
    return LoadReport(
        remapped={key: f"from {name}" for key, name in sources.items()},
        missing=missing,
        unexpected=[name for name in weights if name not in used],
    )


def read_weights(path: str | Path) -> Weights:
    """Return the tensors of a ``.safetensors`` file or of a ``.pt``/``.pth`` state dict; no code in the file is run."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        with opened(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    content = read_checkpoint(path, lambda name: name.startswith(PACKAGES))
    held = next(
        (content[name] for name in PLACES if isinstance(content, dict) and isinstance(content.get(name), dict)), content
    )
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise CheckpointError(f"{path}: expected a state dict, a mapping of names to tensors")
    return dict(held)


def _plain(weights: Weights, own: Weights) -> Weights | None:
    """Timm's and torchvision's names, with or without the prefix of a wrapper."""
    for prefix in ("", *WRAPPERS):
        stripped = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        shared = own.keys() & stripped.keys()
        if len(shared) > len(own) // 2:
            return stripped
    # features_only flattens `stages.0` to `stages_0`.
    flattened = {re.sub(r"^(stages|layers|stem|blocks)\.(\d+)\.", r"\1_\2.", k): v for k, v in weights.items()}
    return flattened if len(own.keys() & flattened.keys()) > len(own) // 2 else None


def _blocks(own: Weights) -> Iterator[tuple[str, bool]]:
    """Yield each block of a timm EfficientNet or MobileNet in order, and whether it expands first."""
    names = dict.fromkeys(match[0] for key in own if (match := re.match(r"blocks\.\d+\.\d+\.", key)))
    for name in names:
        yield name, f"{name}conv_pwl.weight" in own


def _renamed(weights: Weights, own: Weights, stem: dict[str, str], part: Callable[[int, bool], dict[str, str]]) -> Weights:
    """Return the weights under timm's names: `stem` and `part(k, expands)` give the names to read for each module."""
    sources = dict(stem)
    for number, (block, expands) in enumerate(_blocks(own)):
        sources |= {block + module: source for module, source in part(number, expands).items()}
    found = {}
    for key in own:
        module, _, leaf = key.rpartition(".")
        source = f"{sources.get(module)}.{leaf}"
        if source in weights:
            found[key] = weights[source]
    return found


EXPANDING = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
SEPARABLE = ("conv_dw", "bn1", "conv_pw", "bn2")


def _mobilenet_v2(weights: Weights, own: Weights) -> Weights | None:
    """The first public MobileNetV2 port and torchvision's: ``features.N.conv.M``, blocks counted from 1."""
    if "features.0.0.weight" not in weights or "conv_stem.weight" not in own:
        return None
    nested = "features.1.conv.0.0.weight" in weights  # torchvision groups convolution, norm and activation

    def part(number: int, expands: bool) -> dict[str, str]:
        if nested:
            places = ("0.0", "0.1", "1.0", "1.1", "2", "3") if expands else ("0.0", "0.1", "1", "2")
        else:
            places = ("0", "1", "3", "4", "6", "7") if expands else ("0", "1", "3", "4")
        modules = EXPANDING if expands else SEPARABLE
        return {m: f"features.{number + 1}.conv.{p}" for m, p in zip(modules, places, strict=True)}

    return _renamed(weights, own, {"conv_stem": "features.0.0", "bn1": "features.0.1"}, part)


def _efficientnet(weights: Weights, own: Weights) -> Weights | None:
    """efficientnet_pytorch: ``_blocks.N._depthwise_conv``."""
    if "_conv_stem.weight" not in weights or "conv_stem.weight" not in own:
        return None

    def part(number: int, expands: bool) -> dict[str, str]:
        names = ["_expand_conv", "_bn0"] * expands + ["_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
        return {m: f"_blocks.{number}.{n}" for m, n in zip(EXPANDING if expands else SEPARABLE, names, strict=True)}

    return _renamed(weights, own, {"conv_stem": "_conv_stem", "bn1": "_bn0"}, part)


STYLES: dict[str, Callable[[Weights, Weights], Weights | None]] = {
    "timm or torchvision": _plain,
    "MobileNetV2 features.N": _mobilenet_v2,
    "efficientnet_pytorch": _efficientnet,
}
