"""The contract suite: what each kind of part promises, as functions that a test calls.

A new part's test file is ten lines::

    from zoo_core.testing import check_neck

    def test_contract() -> None:
        check_neck("my_neck", channels={8: 16, 16: 32, 32: 64}, width=8)

Each function takes a registered name, a dict with ``type``, or a spec, and options as further keywords. It returns nothing, or
raises a `ContractError` that says which promise is broken, in which case. Nothing here needs pytest or a network.
"""

from __future__ import annotations

from zoo_core.testing.assigner import check_assigner
from zoo_core.testing.backbone import check_backbone
from zoo_core.testing.contract import ContractError
from zoo_core.testing.dense_head import check_dense_head
from zoo_core.testing.detector import check_detector
from zoo_core.testing.manifest import check_plugin
from zoo_core.testing.neck import check_neck
from zoo_core.testing.preprocess import check_preprocess
from zoo_core.testing.roi_head import check_roi_head
from zoo_core.testing.sampler import check_sampler

__all__ = [
    "ContractError",
    "check_assigner",
    "check_backbone",
    "check_dense_head",
    "check_detector",
    "check_neck",
    "check_plugin",
    "check_preprocess",
    "check_roi_head",
    "check_sampler",
]
