"""Where a run computes: the device, the precision and the other processes, through accelerate."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from zoo_core.engine.specs import TrainSpec
from zoo_core.errors import InputError


def make_accelerator(spec: TrainSpec, device: str | None) -> Accelerator:
    """Return an accelerator for the device, whatever an earlier run in this process has chosen."""
    kind = None if device is None else torch.device(device).type
    if kind not in (None, "cpu", "cuda"):
        raise InputError(f"training runs on cpu or cuda, not on '{device}'")
    if kind == "cuda" and device != "cuda":
        torch.cuda.set_device(device)  # accelerate takes the current one
    options: dict[str, Any] = {
        "mixed_precision": spec.precision,
        "cpu": kind == "cpu",
        # A level that no head looks at leaves parameters without a gradient.
        "kwargs_handlers": [DistributedDataParallelKwargs(find_unused_parameters=True)],
    }
    with suppress(ValueError):  # another precision than before
        accelerator = Accelerator(**options)
        if kind in (None, accelerator.device.type):
            return accelerator
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    try:
        return Accelerator(**options)
    except ValueError as error:
        raise InputError(
            f"accelerate cannot start, look at its variables (WORLD_SIZE, LOCAL_RANK, ACCELERATE_…): {error}"
        ) from error
