from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_yolo.layers import ACTIVATIONS, ConvNormAct, layer_of
from zoo_yolo.specs import C3PANSpec


def trained(layer: ConvNormAct, seed: int = 0) -> ConvNormAct:
    """Return the layer with statistics and parameters as training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    norm = layer.norm
    assert norm is not None
    for tensor, low, high in (
        (norm.running_mean, -1.0, 1.0),
        (norm.running_var, 0.05, 3.0),
        (norm.weight.data, -1.5, 1.5),
        (norm.bias.data, -1.0, 1.0),
    ):
        assert tensor is not None
        tensor.uniform_(low, high, generator=generator)
    return layer


def image(channels: int, side: int = 32) -> Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 2, 1), (3, 1, 4)])
def test_folded_like_unfolded(act: str, kernel: int, stride: int, groups: int) -> None:
    layer = trained(ConvNormAct(8, 12, kernel, stride, groups=groups, act=act, norm_eps=1e-3)).eval()
    x = image(8)
    before = x.clone()
    with torch.no_grad():
        folded = layer(x)
    unfolded = layer(x).detach()  # with gradient nothing is folded
    assert (folded - unfolded).abs().max() <= 1e-5 * unfolded.abs().max()
    assert torch.equal(x, before)


def test_the_weights_may_change_between_two_calls() -> None:
    layer = trained(ConvNormAct(4, 4, act="linear")).eval()
    x = image(4)
    with torch.no_grad():
        layer(x)
        trained(layer, seed=5)
        layer.conv.weight.mul_(2)
        found = layer(x)
    torch.testing.assert_close(found, layer(x).detach(), rtol=1e-5, atol=1e-5)


def test_the_norm_is_folded_only_where_that_is_cheaper() -> None:
    layer = trained(ConvNormAct(4, 4, 3)).eval()
    calls: list[int] = []
    assert layer.norm is not None
    layer.norm.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        layer(image(4, side=3))  # 2 * 9 positions, 36 weights for each filter
        assert len(calls) == 1
        layer(image(4, side=8))
        assert len(calls) == 1
    layer.train()
    with torch.no_grad():
        layer(image(4, side=8))
    assert len(calls) == 2


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_training(act: str) -> None:
    """Activations in place leave the gradient as it is; the statistics follow the batch."""
    layer = trained(ConvNormAct(4, 6, 3, act=act)).train()
    assert layer.norm is not None
    other = copy.deepcopy(layer)
    x = image(4, side=8)
    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    layer(first).square().sum().backward()
    assert other.norm is not None
    unfused: Tensor = ACTIVATIONS[act](other.norm(other.conv(second)), False).square().sum()
    unfused.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(first.grad, second.grad)
    for one, two in zip(layer.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)
    torch.testing.assert_close(layer.norm.running_var, other.norm.running_var)


@pytest.mark.parametrize(
    ("act", "x", "y"),
    [
        ("silu", -1.0, -0.268941),
        ("swish", -1.0, -0.268941),
        ("mish", -1.0, -0.303401),
        ("leaky", -1.0, -0.1),
        ("relu", -1.0, 0.0),
        ("logistic", -1.0, 0.268941),
        ("linear", -1.0, -1.0),
    ],
)
def test_activations(act: str, x: float, y: float) -> None:
    for inplace in (False, True):
        assert ACTIVATIONS[act](torch.tensor([x]), inplace).item() == pytest.approx(y, abs=1e-5)


def test_without_a_norm_there_is_a_bias() -> None:
    layer = ConvNormAct(4, 6, norm=False, act="linear")
    assert layer.norm is None
    assert layer.conv.bias is not None
    assert set(layer.state_dict()) == {"conv.weight", "conv.bias"}
    with torch.no_grad():
        assert torch.equal(layer(image(4)), layer.conv(image(4)))


@pytest.mark.parametrize(("kernel", "padding", "side"), [(1, None, 8), (3, None, 8), (5, None, 8), (3, 0, 6), (6, 2, 7)])
def test_padding(kernel: int, padding: int | None, side: int) -> None:
    assert ConvNormAct(1, 1, kernel, padding=padding)(image(1, side=8)).shape == (2, 1, side, side)


def test_half_precision() -> None:
    layer = trained(ConvNormAct(4, 4, norm_eps=1e-6)).eval()
    x = image(4)
    with torch.no_grad():
        wanted = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert (layer(x).float() - wanted).abs().max() < 0.05 * wanted.abs().max()
        found = layer.bfloat16()(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found.float() - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_an_activation_that_does_not_exist() -> None:
    with pytest.raises(InputError, match=r"no activation named 'leeky'; did you mean 'leaky'\?"):
        ConvNormAct(1, 1, act="leeky")
    with pytest.raises(InputError, match="no activation named 'x'; there are silu, swish, "):
        ConvNormAct(1, 1, act="x")


def test_the_layers_of_a_part() -> None:
    layer = layer_of(C3PANSpec(activation="mish", norm_eps=0.5, norm_momentum=0.25))(4, 6, 3, 2)
    assert layer.norm is not None
    assert (layer.act, layer.norm.eps, layer.norm.momentum) == ("mish", 0.5, 0.25)
    assert layer(image(4, side=8)).shape == (2, 6, 4, 4)
