"""A safetensors file, opened with care: it may be cut short, damaged, or made to take all memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from zoo_core.errors import CheckpointError

LONGEST = 2**21
"""Bytes in which the tensors may be described; of ten thousand tensors the description has half of this."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file for a block; a `CheckpointError` says what is wrong with it."""
    try:
        _check_header(path)
        with safe_open(path, framework="pt", backend="pread") as file:  # mapped, a file that is cut meanwhile kills us
            yield file
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} is incomplete: {path.name} is missing") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error


def _check_header(path: Path) -> None:
    """Raise `OSError` for what is no file (a pipe would be waited for), and for a description that would take all memory."""
    if path.exists() and not path.is_file():
        raise OSError("it is not a regular file")
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > LONGEST:
        raise OSError(f"it claims to describe its tensors in {size:,} bytes, and no more than {LONGEST:,} are read")
