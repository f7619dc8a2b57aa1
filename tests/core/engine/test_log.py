"""What a run leaves for programs to read beside its checkpoints. The log itself: test_train.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo_core.engine.log import write_report
from zoo_core.errors import CheckpointError
from zoo_core.report import LoadReport


def test_the_report_of_the_weights_that_a_run_begins_with(tmp_path: Path) -> None:
    report = LoadReport(loaded=["a"], remapped={"b": "from c"}, classes={"Car": None})
    write_report(tmp_path, report)
    assert LoadReport(**json.loads((tmp_path / "load_report.json").read_text(encoding="utf-8"))) == report
    write_report(tmp_path, None)
    write_report(tmp_path, None)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CheckpointError, match=r"cannot write .*load_report\.json: "):
        write_report(tmp_path / "absent", report)
