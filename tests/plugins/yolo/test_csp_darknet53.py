from __future__ import annotations

import torch

from zoo_core.testing import check_backbone
from zoo_yolo.csp_darknet53 import CSPDarknet53
from zoo_yolo.layers import ConvNormAct
from zoo_yolo.specs import CSPDarknet53Spec


def test_contract() -> None:
    check_backbone("csp_darknet53")
    check_backbone("csp_darknet53", strides=(4, 8))


def test_the_network() -> None:
    with torch.device("meta"):
        body = CSPDarknet53(CSPDarknet53Spec())
        maps = body(torch.empty(1, 3, 96, 128))
    assert sum(p.numel() for p in body.parameters()) == 26_617_184
    assert {s: tuple(m.shape[1:]) for s, m in maps.items()} == {8: (256, 12, 16), 16: (512, 6, 8), 32: (1024, 3, 4)}
    assert [len(stage.blocks) for stage in body.stages] == [1, 2, 8, 8, 4]  # type: ignore[arg-type]
    layers = [module for module in body.modules() if isinstance(module, ConvNormAct)]
    assert {layer.act for layer in layers} == {"mish"}
    assert {layer.norm.eps for layer in layers if layer.norm} == {1e-6}


def test_only_what_is_wanted_is_built() -> None:
    body = CSPDarknet53(CSPDarknet53Spec(strides=(4,)))
    assert len(body.stages) == 2
    assert {s: tuple(m.shape) for s, m in body(torch.zeros(1, 3, 32, 32)).items()} == {4: (1, 128, 8, 8)}
