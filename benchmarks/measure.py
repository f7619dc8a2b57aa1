"""What the benchmarks share: seconds, the peak of a process's memory (Linux), and the name of the processor."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path


def peak_rise(run: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that `run` takes, and by how many GB the peak of the process's memory rises."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the present
    before = memory("VmRSS")
    start = time.perf_counter()
    kept = run()
    seconds = time.perf_counter() - start
    del kept
    return seconds, memory("VmHWM") - before


def memory(field: str) -> float:
    """Return a field of the process's memory in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**20


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()
