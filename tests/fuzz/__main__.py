"""Run cases of a family and print what became of them as JSON: ``python -m tests.fuzz folders 1000 --seed 7``.

Case number n of a seed is the same on every machine; ``--only n`` runs it alone and shows the whole error.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS, WAIT = 5.0, 30.0
"""Time of one case, of the processor and by the clock: a good file takes a hundredth of it, but others may want the machine."""
TIMES, SLACK = 5, 64 * 2**20
"""Memory that a case may take: so many times its file, and so many bytes. A text of ten megabytes in a file is held as bytes
and as letters, and once more in what is said of it; two megabytes of JSON make fifty of Python's dicts.
"""
ROOM = 6 * 2**30
"""Address space beyond what the libraries have: keeps the machine alive where something asks for all memory, bit by bit."""


class SlowError(BaseException):
    """A case that takes too long; none that ``except Exception`` catches."""


def too_slow(signum: int, frame: FrameType | None) -> None:
    """Break off a case."""
    raise SlowError(f"more than {SECONDS} s, or {WAIT} s of waiting")


def stop_clock() -> None:
    """Let the rest take as long as it takes."""
    for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
        signal.setitimer(timer, 0)


def status(name: str) -> int:
    """Return a number of bytes that Linux knows of this process, such as "VmHWM": the most memory that it has ever held."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def family(name: str, home: Path) -> Any:
    """Return the cases of a family."""
    if name == "folders":
        from tests.fuzz.folders import Folders

        return Folders(home)
    if name == "foreign":
        from tests.fuzz.foreign import Files

        return Files(home)
    from tests.fuzz.pulled import Pulled

    return Pulled(home)


def main() -> None:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("family", choices=("folders", "foreign", "pulled"))
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    import torch

    from tests.core.stubs import STUBS
    from tests.fuzz.recipes import PARTS
    from zoo_core import registry

    torch.set_num_threads(1)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.chdir(home)
        stack.enter_context(registry.contributed(*[part for part in STUBS if part.name != "resnet18"], *PARTS))
        print(json.dumps(run(asked, home), ensure_ascii=False))


class Measure:
    """What a case takes: time and memory from when its file is there."""

    def __init__(self, home: Path) -> None:
        self.home, self.before, self.bytes = home, status("VmHWM"), 0

    def begin(self) -> None:
        """Note the memory before a file is opened, and let the system forget how much there was earlier; start the clock."""
        gc.collect()
        self.bytes = sum(path.lstat().st_size for path in (self.home / "bad").rglob("*"))
        with suppress(OSError):  # a system that cannot forget only measures less
            Path("/proc/self/clear_refs").write_text("5")
        self.before = status("VmHWM")
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WAIT)

    def taken(self) -> int:
        """Return how many bytes beyond what is allowed the case has taken, or a negative number."""
        return status("VmHWM") - self.before - TIMES * self.bytes - SLACK


def run(asked: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Return how many cases ended how, which ended wrongly, and what they took."""
    cases = family(asked.family, home)
    cases.warm()
    gc.collect()
    gc.freeze()  # or every collection goes through all of PyTorch
    measure = Measure(home)
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + ROOM,) * 2)
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, too_slow)
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    slowest, largest, start = (0.0, -1), (-SLACK, -1), time.monotonic()
    for number in [asked.only] if asked.only is not None else range(asked.count):
        case = f"{asked.family} 0 --seed {asked.seed} --only {number}"
        print(case, file=sys.stderr, flush=True)  # should it be the last
        faulthandler.dump_traceback_later(2 * WAIT, exit=True)
        begun = time.monotonic()
        try:
            what, outcome = cases.run(random.Random(f"{asked.family} {asked.seed} {number}"), measure.begin)
            stop_clock()
            if measure.taken() > 0:
                raise MemoryError(f"{what}: {outcome}, with {measure.taken() >> 20} MiB more than a case may take")
        except BaseException as error:
            stop_clock()
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome = "wrong"
            where = "".join(traceback.format_exception(error)[-6:]) if asked.only is not None else ""
            wrong.append(f"{case}: {type(error).__name__}: {str(error)[:600]}\n{where}")
        slowest = max(slowest, (round(time.monotonic() - begun, 2), number))
        largest = max(largest, (measure.taken(), number))
        outcomes[outcome] += 1
    faulthandler.cancel_dump_traceback_later()
    if (home / "owned").exists():
        wrong.append(f"--seed {asked.seed}: something in a file was run")
    return {
        "cases": sum(outcomes.values()),
        "outcomes": dict(outcomes.most_common()),
        "wrong": wrong,
        "seconds": round(time.monotonic() - start, 1),
        "slowest": slowest,
        f"most memory beyond {TIMES} times the file, in MiB": ((largest[0] + SLACK) >> 20, largest[1]),
    }


if __name__ == "__main__":
    main()
