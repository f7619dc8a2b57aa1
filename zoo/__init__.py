"""The detector zoo: ``zoo.create("faster_rcnn_r101_fpn", num_classes=3)``.

The public API as one table. A name is imported when it is first used, so that ``import zoo`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_core.create import create as create
    from zoo_core.errors import ZooError as ZooError
    from zoo_core.hub import save as save
    from zoo_core.importing import load_weights as load_weights
    from zoo_core.push import push as push
    from zoo_core.recipes import describe as describe
    from zoo_core.registry import list_models as list_models
    from zoo_core.remote import load as load
    from zoo_core.types import Detections as Detections
    from zoo_core.types import Targets as Targets

__version__ = "0.1.0"

_ORIGIN = {
    "Detections": "zoo_core.types",
    "Targets": "zoo_core.types",
    "ZooError": "zoo_core.errors",
    "create": "zoo_core.create",
    "describe": "zoo_core.recipes",
    "list_models": "zoo_core.registry",
    "load": "zoo_core.remote",
    "load_weights": "zoo_core.importing",
    "push": "zoo_core.push",
    "save": "zoo_core.hub",
}
__all__ = ["__version__", *_ORIGIN]


def __getattr__(name: str) -> Any:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_ORIGIN[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
