"""The records of MMDetection, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.golden.record import Record


@pytest.fixture(scope="session")
def folder(shared: Path) -> Path:
    """Return the folder of records, or skip."""
    return shared / "golden" / "mmdet"


@pytest.fixture(scope="session")
def record(folder: Path) -> Callable[[str], Record]:
    """Return a function from the name of a record to its content."""
    return lambda name: Record.read(folder / f"{name}.safetensors")
