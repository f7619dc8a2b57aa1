"""Fixtures of the core's tests, which need no plugin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.core.stubs import STUBS
from zoo_core import registry
from zoo_core.plugins import CORE, plugins


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave nothing registered but the core's own parts, whatever is installed."""
    core = tuple(plugin for plugin in plugins() if plugin.distribution == CORE)
    monkeypatch.setattr(registry, "plugins", lambda: core)
    registry._index.cache_clear()
    yield
    monkeypatch.undo()  # of the test's own patches as well, which lie on this one
    registry._index.cache_clear()


@pytest.fixture
def stubs(bare: None) -> Iterator[None]:
    """Register small parts and recipes beside the core's own."""
    with registry.contributed(*STUBS):
        yield
