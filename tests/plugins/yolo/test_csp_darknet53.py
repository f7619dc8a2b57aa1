from __future__ import annotations

import torch

from zoo_core.testing import check_backbone
from zoo_yolo.csp_darknet53 import STAGES, CSPDarknet53, CSPStage
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


def test_the_blocks_come_before_the_side() -> None:
    stage = CSPStage(ConvNormAct, 4, 8, 2).eval()
    x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        down = stage.down(x)
        wanted = stage.merge(torch.cat([stage.after(stage.blocks(stage.main(down))), stage.side(down)], dim=1))
        torch.testing.assert_close(stage(x), wanted)


def test_the_order_of_the_cfg() -> None:
    """(output, kernel) of each convolution, as yolov4.cfg has them."""
    with torch.device("meta"):
        body = CSPDarknet53(CSPDarknet53Spec())
    layers = [module.conv for module in body.modules() if isinstance(module, ConvNormAct)]
    wanted = [(32, 3), (64, 3), (64, 1), (64, 1), (32, 1), (64, 3), (64, 1), (64, 1)]
    for _, width, count in STAGES[1:]:
        half = width // 2
        wanted += [(width, 3), (half, 1), (half, 1), *[(half, 1), (half, 3)] * count, (half, 1), (width, 1)]
    assert [(conv.out_channels, conv.kernel_size[0]) for conv in layers] == wanted


def test_only_what_is_wanted_is_built() -> None:
    body = CSPDarknet53(CSPDarknet53Spec(strides=(4,)))
    assert len(body.stages) == 2
    assert {s: tuple(m.shape) for s, m in body(torch.zeros(1, 3, 32, 32)).items()} == {4: (1, 128, 8, 8)}
