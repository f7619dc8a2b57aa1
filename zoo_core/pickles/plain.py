"""Plain pickles, such as the files of weights in Detectron2's model zoo, read without running anything that is in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo_core.errors import CheckpointError
from zoo_core.pickles.arrays import ArrayVocabulary
from zoo_core.pickles.bounds import Bounds
from zoo_core.pickles.checkpoint import MAGIC, PICKLE, ZIP, opened
from zoo_core.pickles.machine import Stream, Unpickler

TORCH = "is a file of torch.save and no plain pickle; read_checkpoint reads it"


def read_pickle(path: str | Path, allowed: Callable[[str], bool]) -> Any:
    """Return what ``pickle.dump`` wrote to a file, with arrays of NumPy as tensors on the CPU.

    As with `read_checkpoint` nothing that the file names is imported or called. A pickle of weights takes twice its size in
    memory while it is read, and no pickle more than six times its size and what `STEPS` instructions make.

    Args:
        path: a pickle of protocol 2 or later, of Python 2 or 3.
        allowed: says of "module.Class" whether the file may hold such objects. They are not made: they become records.

    Raises:
        CheckpointError: another kind of file; one that is damaged or cut short; one that names anything else; an array of
            objects or texts, or with the big end first.
    """
    with opened(path) as (file, size):
        start = file.read(len(ZIP))
        file.seek(0)
        if start == ZIP:
            raise CheckpointError(TORCH)
        if start[:1] != PICKLE:
            raise CheckpointError(f"is {'no pickle of protocol 2 or later' if start else 'empty'}")
        bounds = Bounds(size, copies=2)
        content = Unpickler(Stream(file, size), ArrayVocabulary(allowed, bounds), _outside, bounds).load()
        if type(content) is int and content == MAGIC:
            raise CheckpointError(TORCH)
        return content


def _outside(identity: Any) -> Any:  # noqa: ARG001
    raise CheckpointError("refers to memory outside of it, which a plain pickle does not")
