"""Two thousand damaged folders and files: each ends in an error that a person can read, or in a load that is right.

What is right is said in `tests.fuzz.judge`; what a case may take, in `tests.fuzz.__main__`. ``ZOO_FUZZ_TIMES=10`` runs ten
times as many cases, ``ZOO_FUZZ_SEED=7`` others.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import damage, judge
from zoo_core.errors import BrokenPluginError, CheckpointError

ROOT = Path(__file__).resolve().parents[2]
CASES = {"folders": 1_500, "foreign": 500, "pulled": 50}
LEAST_LOADED = 0.05
"""Share of the cases that are loaded: if there were none, no damage would be of the kind that is hard to see."""


def start(family: str, environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Run the cases of a family in a process of its own; its answer and its last words go to files."""
    count = CASES[family] * int(os.environ.get("ZOO_FUZZ_TIMES", "1"))
    command = [sys.executable, "-m", "tests.fuzz", family, str(count), "--seed", os.environ.get("ZOO_FUZZ_SEED", "0")]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **environment, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    with (folder / f"{family}.json").open("wb") as told, (folder / f"{family}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=told, stderr=log)


@pytest.mark.slow
def test_every_outcome_is_an_error_of_ours_or_a_load_that_is_right(tmp_path: Path, hub_environment: dict[str, str]) -> None:
    running = {family: start(family, hub_environment, tmp_path) for family in CASES}
    codes = {family: process.wait() for family, process in running.items()}
    total = 0
    for family, code in codes.items():
        assert code == 0, f"{family} ended with {code}:\n{(tmp_path / f'{family}.log').read_text()[-3000:]}"
        found = json.loads((tmp_path / f"{family}.json").read_text())
        print(family, {key: value for key, value in found.items() if key != "wrong"})
        assert not found["wrong"], "\n".join(["one alone: python -m tests.fuzz …", *found["wrong"][:20]])
        loaded = sum(count for outcome, count in found["outcomes"].items() if "loaded" in outcome)
        assert loaded > LEAST_LOADED * found["cases"]
        total += found["cases"]
    assert total >= 2_000


def test_a_case_is_the_same_each_time() -> None:
    tree = {"a": [1, 2, {"b": "c"}], "d": 0.5}
    first, second = (
        [(damage.bent(rng, tree), damage.broken(rng, b"0123456789")) for _ in range(50)]
        for rng in (random.Random("7"), random.Random("7"))
    )
    assert repr(first) == repr(second)
    assert len({data for _, data in first}) > 40
    assert tree == {"a": [1, 2, {"b": "c"}], "d": 0.5}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (KeyError("x"), "not a ZooError: KeyError"),
        (BrokenPluginError("importer 'x' fails"), "said to be a plugin's fault"),
        (CheckpointError(""), "of 0 letters"),
        (CheckpointError("Traceback (most recent call last):\n  File"), "Traceback"),
    ],
)
def test_the_judge_of_errors(error: Exception, why: str) -> None:
    assert judge.refused(CheckpointError("x.json is not readable JSON")) == "CheckpointError"
    with pytest.raises(judge.WrongError, match=why):
        judge.refused(error)
