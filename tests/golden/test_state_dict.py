from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.golden.names import ours
from zoo_core.build import build
from zoo_core.recipes import resolve

pytestmark = pytest.mark.shared


@pytest.mark.parametrize("depth", ["r50", "r101"])
def test_names_shapes_and_what_is_frozen(folder: Path, depth: str) -> None:
    wanted = json.loads((folder / f"faster_rcnn_{depth}_fpn_state_dict_keys.json").read_text())
    with torch.device("meta"):
        model = build(resolve(f"faster_rcnn_{depth}_fpn"))
    found = {k: (tuple(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in model.state_dict().items()}
    assert found == {ours(key): (tuple(shape), dtype) for key, shape, dtype in wanted["keys"]}
    assert len(found) == wanted["num_keys"]
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {ours(key) for key in wanted["frozen"]}
    assert sum(p.numel() for p in model.parameters()) == wanted["num_parameters"]
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == wanted["num_parameters_trainable"]
    parameters = dict(model.named_parameters())
    saved = sum(tensor.numel() for name, tensor in model.state_dict().items() if name not in parameters)
    assert saved == wanted["num_buffer_elements"]
