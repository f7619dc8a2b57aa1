"""What a model was saved with, against what is here."""

from __future__ import annotations

import pytest

from zoo_core import origins
from zoo_core.origins import pip_line, requirements
from zoo_core.plugins import CORE, Plugin

HERE = (
    Plugin("core", CORE, "0.2", "m"),
    Plugin("neck", "zoo-neck", "1.0", "m"),
    Plugin("bad", "zoo-bad", "1.0", "m", error="ImportError: no"),
    Plugin("off", "zoo-off", "1.0", "m", disabled=True),
)


def test_each_distribution_and_whether_it_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "plugins", lambda: HERE)
    saved_with = {"zoo-core": "0.1", "Zoo_Neck": "1.0", "zoo-bad": "1.0", "zoo-off": "1.0", "zoo-x": "3"}
    found = requirements(saved_with)
    assert [(need.distribution, need.installed, need.state) for need in found] == [
        ("zoo-core", "0.2", "other version"),
        ("Zoo_Neck", "1.0", "ok"),
        ("zoo-bad", "1.0", "broken"),
        ("zoo-off", "1.0", "disabled"),
        ("zoo-x", None, "missing"),
    ]
    assert pip_line(need for need in found if need.state != "ok").startswith("pip install zoo-core==0.1 zoo-bad==1.0 ")
    assert pip_line(()) == ""
