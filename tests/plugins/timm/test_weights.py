from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from zoo_core.build import build_part
from zoo_core.detectors.preprocess import KeepRatio
from zoo_core.detectors.specs import KeepRatioSpec
from zoo_core.errors import CheckpointError
from zoo_core.specs import Slot
from zoo_timm.backbone import TimmBackbone
from zoo_timm.weights import read_weights


def loaded(name: str, path: Path | str) -> TimmBackbone:
    backbone = build_part("backbone", Slot("backbone").resolve({"type": name, "weights": str(path)}))
    assert isinstance(backbone, TimmBackbone)
    backbone.load_pretrained()
    return backbone.eval()


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give norms statistics and factors of their own, so that a mixed-up layer shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.eval()


IMAGES = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))


# torchvision's own models are the judges of what a file of theirs computes.


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("wrapper", ["", "module.", "backbone.", "model."])
def test_torchvision_resnet(tmp_path: Path, wrapper: str, suffix: str) -> None:
    theirs = randomised(torchvision.models.resnet18())
    weights = {wrapper + name: value for name, value in theirs.state_dict().items()}
    path = tmp_path / f"resnet18.{suffix}"
    save_file(weights, path) if suffix == "safetensors" else torch.save(weights, path)
    with torch.no_grad():
        found = loaded("resnet18", path)(IMAGES)[32]
        wanted = nn.Sequential(*list(theirs.children())[:-2])(IMAGES)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_wrapped_state_dict(tmp_path: Path, key: str) -> None:
    theirs = randomised(torchvision.models.resnet18())
    torch.save({key: theirs.state_dict(), "epoch": 3}, tmp_path / "file.pth")
    found = loaded("resnet18", tmp_path / "file.pth")
    assert torch.equal(found.body.layer4[1].conv2.weight, theirs.state_dict()["layer4.1.conv2.weight"])


def mobilenet_maps(theirs: nn.Module, images: Tensor) -> dict[int, Tensor]:
    maps = {}
    for number, layer in enumerate(theirs.features[:18]):  # type: ignore[index]
        images = layer(images)
        maps[number] = images
    return {4: maps[3], 8: maps[6], 16: maps[13], 32: maps[17]}


def assert_same_maps(found: dict[int, Tensor], wanted: dict[int, Tensor]) -> None:
    assert list(found) == list(wanted)
    for stride, map_ in found.items():
        torch.testing.assert_close(map_, wanted[stride], rtol=1e-4, atol=1e-4)


def test_torchvision_mobilenet(tmp_path: Path) -> None:
    theirs = randomised(torchvision.models.mobilenet_v2())
    torch.save(theirs.state_dict(), tmp_path / "mobilenet.pth")
    with torch.no_grad():
        assert_same_maps(loaded("mobilenetv2_100", tmp_path / "mobilenet.pth")(IMAGES), mobilenet_maps(theirs, IMAGES))


@pytest.mark.shared
def test_the_first_public_mobilenet(shared: Path) -> None:
    """Its layers are torchvision's under other names, in the same order."""
    path = shared / "data/weights/imagenet/mobilenetv2_1.0_imagenet.pt"
    theirs = torchvision.models.mobilenet_v2().eval()
    theirs.features.load_state_dict(dict(zip(theirs.features.state_dict(), read_weights(path).values(), strict=True)))
    with torch.no_grad():
        assert_same_maps(loaded("mobilenetv2_100", path)(IMAGES), mobilenet_maps(theirs, IMAGES))


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet", "mobilenetv2_100", "regnetx_002"])
def test_timms_own_classifier(tmp_path: Path, name: str) -> None:
    import timm

    classifier = randomised(timm.create_model(name))
    torch.save(classifier.state_dict(), tmp_path / "file.pth")
    found = loaded(name, tmp_path / "file.pth").state_dict()
    own = {key.replace(".", "_"): value for key, value in classifier.state_dict().items()}
    for key, value in found.items():
        assert torch.equal(value, own[key.removeprefix("body.").replace(".", "_")])


# Real weights and real images: a network sees in its norms what it saw in training only when every layer is in its place.


def surprise(backbone: TimmBackbone, images: Tensor) -> float:
    """Return by how many standard deviations the inputs of the norms differ from what the weights expect, on average."""
    distances: list[float] = []

    def compare(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        seen = inputs[0].mean(dim=(0, 2, 3))
        distances.append(float(((seen - norm.running_mean) / (norm.running_var + norm.eps).sqrt()).abs().mean()))

    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(compare)
    with torch.no_grad():
        backbone(images)
    assert len(distances) > 40
    return sum(distances) / len(distances)


@pytest.fixture(scope="module")
def photographs(shared: Path) -> list[Tensor]:
    folder = shared / "data/coco_tiny80/val2017"
    squares = []
    for path in sorted(folder.glob("*.jpg"))[:24]:
        with Image.open(path) as image:
            side = min(image.size)
            square = image.convert("RGB").crop((0, 0, side, side)).resize((160, 160), Image.Resampling.BICUBIC)
        squares.append(torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(160, 160, 3).permute(2, 0, 1))
    assert len(squares) == 24
    return squares


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "file", "options"),
    [
        ("mobilenetv2_100", "mobilenetv2_1.0_imagenet.pt", {}),
        ("tf_efficientnet_lite0", "efficientnet-lite0-57934424.pth", {"mean": (127.0,) * 3, "std": (128.0,) * 3}),
    ],
)
def test_real_weights_on_real_images(
    shared: Path, photographs: list[Tensor], name: str, file: str, options: dict[str, Any]
) -> None:
    spec = KeepRatioSpec(long_side=160, short_side=160, **options)
    images = KeepRatio(spec)(photographs).tensor
    path = shared / "data/weights/imagenet" / file
    found = surprise(loaded(name, path), images)
    assert found < 0.2
    mixed_up = loaded(name, path)  # two norms of the same shape exchanged
    for block in mixed_up.body.blocks[3]:
        block.bn1, block.bn2 = block.bn2, block.bn1
    assert surprise(mixed_up, images) > 1.5 * found


@pytest.mark.shared
def test_lite0_was_trained_with_the_padding_of_tensorflow(shared: Path, photographs: list[Tensor]) -> None:
    path = shared / "data/weights/imagenet/efficientnet-lite0-57934424.pth"
    spec = KeepRatioSpec(long_side=160, short_side=160, mean=(127.0,) * 3, std=(128.0,) * 3)
    images = KeepRatio(spec)(photographs).tensor
    assert surprise(loaded("tf_efficientnet_lite0", path), images) < surprise(loaded("efficientnet_lite0", path), images)


# Files that cannot be used


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file of weights"):
        loaded("resnet18", tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="no such file of weights"):
        loaded("resnet18", tmp_path)


@pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_file(tmp_path: Path, name: str, keep: float) -> None:
    weights = torchvision.models.resnet18().state_dict()
    path = tmp_path / name
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep in (0, 1, 100) else len(content) * keep)])
    with pytest.raises(CheckpointError, match=rf"{name}"):
        loaded("resnet18", path)


@pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
def test_a_file_of_something_else(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html>404</html>")
    with pytest.raises(CheckpointError, match=rf"{name}"):
        loaded("resnet18", tmp_path / name)


class Bomb:
    """Would write a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": Bomb(tmp_path / "exploded")}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="neither tensor nor plain data; nothing of it was run"):
        loaded("resnet18", tmp_path / "file.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"a": torch.zeros(1), "b": "c"}, torch.zeros(3)])
def test_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="expected a state dict, a mapping of names to tensors"):
        loaded("resnet18", tmp_path / "file.pth")


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch.save(torchvision.models.mobilenet_v2().state_dict(), tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=r"file\.pth: the keys \(first: features.0.0.weight, .*are of another network"):
        loaded("resnet18", tmp_path / "file.pth")
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=r"file\.pth \(timm or torchvision keys\) does not fit .*layer1\.0\.conv"):
        loaded("resnet50", tmp_path / "file.pth")


def test_one_layer_missing_or_of_another_shape(tmp_path: Path) -> None:
    weights = torchvision.models.resnet18().state_dict()
    wrong = weights | {"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}
    torch.save(wrong, tmp_path / "file.pth")
    text = r"layer1\.0\.conv1\.weight has shape \(64, 64, 1, 1\) instead of \(64, 64, 3, 3\) \(and 0 more\)"
    with pytest.raises(CheckpointError, match=text):
        loaded("resnet18", tmp_path / "file.pth")
    del weights["layer3.0.bn1.running_mean"]
    torch.save(weights, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=r"layer3\.0\.bn1\.running_mean is missing \(and 0 more\)"):
        loaded("resnet18", tmp_path / "file.pth")


def test_a_file_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    weights = torchvision.models.resnet18().state_dict()
    del weights["layer4.1.bn2.weight"]
    torch.save(weights, tmp_path / "file.pth")
    backbone = build_part("backbone", Slot("backbone").resolve({"type": "resnet18", "weights": str(tmp_path / "file.pth")}))
    before = backbone.body.conv1.weight.clone()
    with pytest.raises(CheckpointError):
        backbone.load_pretrained()
    assert torch.equal(backbone.body.conv1.weight, before)
