"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.server import Hub

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference data beside the repository, or skip."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip("the reference data (../shared) is not here")
    return folder


@pytest.fixture
def hub_environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment in which a process uses the Hub on loopback alone, with a home of its own."""
    return {
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_CACHE": str(tmp_path / "home" / "hub"),
        "HF_TOKEN": "hf_writer",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


@pytest.fixture
def server(hub_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Start a Hub on loopback, and let the client in this process know no other."""
    for name, value in hub_environment.items():
        monkeypatch.setenv(name, value)
    from huggingface_hub import constants

    from zoo_core import access

    hub = Hub().start()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    for name, value in (
        ("HF_HUB_DISABLE_XET", True),
        ("HF_HOME", hub_environment["HF_HOME"]),
        ("HF_HUB_CACHE", hub_environment["HF_HUB_CACHE"]),
        ("HF_TOKEN_PATH", str(Path(hub_environment["HF_HOME"]) / "token")),
    ):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(access, "PAUSES", (0.01, 0.01))
    yield hub
    hub.stop()
