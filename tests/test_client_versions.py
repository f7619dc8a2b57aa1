"""The oldest client of the Hub that is allowed: all tests with the Hub on loopback once more, with that one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def overlay(tmp_path: Path) -> tuple[str, dict[str, str]]:
    """Return the version, and an environment in which it goes before the one that is installed."""
    found = re.search(r'"huggingface-hub>=([0-9.]+),', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert found
    installer = ["uv", "pip", "install", "--python", sys.executable]
    if shutil.which("uv") is None:
        installer = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    command = [*installer, "--quiet", "--target", str(tmp_path / "overlay"), f"huggingface-hub=={found[1]}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("the package registry does not answer")
    if done.returncode:
        pytest.skip(f"huggingface-hub {found[1]} cannot be installed: {done.stderr.strip()[-300:]}")
    path = os.pathsep.join([str(tmp_path / "overlay"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return found[1], {**os.environ, "PYTHONPATH": path}


@pytest.mark.slow
def test_the_oldest_client_that_is_allowed(overlay: tuple[str, dict[str, str]]) -> None:
    version, environment = overlay
    program = "import huggingface_hub; print(huggingface_hub.__version__)"
    there = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert there.stdout.strip() == version, there.stderr
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/core/test_remote.py"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.search(r"^[1-9]\d* passed in", done.stdout, re.MULTILINE), done.stdout
