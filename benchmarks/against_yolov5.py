"""YOLOv5 n and s beside the packages a user would take, each in an environment of its own, in turn.

    python -m venv peer && peer/bin/pip install torch torchvision yolov5 ultralytics 'setuptools<81'
    python benchmarks/against_yolov5.py --peer-python peer/bin/python [--rounds 5] [--weights yolov5n.pt] [--json FILE]

Detection is from images in memory (480×640) to boxes: resizing, network and suppression, at 640, batch 1 and 8. A training
step is forward, losses, backward and SGD on such a batch. Each round runs every side on every job; the figure to quote is the
median of the ratios round by round, which holds when the machine's speed drifts.

``yolov5`` has the same networks; ``ultralytics`` gives models of these names a newer head. Neither is imported here: each side
is a process of its own, which waits while another works.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import processor

WORKER = Path(__file__).with_name("yolo_worker.py")
JOBS = [f"{task} {name} {count}" for task in ("detect", "train") for name in ("yolov5n", "yolov5s") for count in (1, 8)]


class Side:
    """A process that runs jobs for one library."""

    def __init__(self, name: str, python: str, threads: int, weights: str = "") -> None:
        self.name = name
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "YOLO_AUTOINSTALL": "false"}
        command = [python, str(WORKER), name, str(threads), *([weights] if weights else [])]
        log = subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )

    def run(self, job: str) -> float:
        """Return the seconds that a job takes."""
        pipe_in, pipe_out = self.process.stdin, self.process.stdout
        if pipe_in is None or pipe_out is None:
            raise SystemExit(f"{self.name} has no pipes")
        print(job, file=pipe_in, flush=True)
        answer = pipe_out.readline()
        if not answer:
            raise SystemExit(f"{self.name} failed at '{job}'; run it by hand: echo '{job}' | {' '.join(self.process.args)}")  # type: ignore[arg-type]
        return float(json.loads(answer)["seconds"])


def imported(weights: Path, folder: Path) -> str:
    """Return the folder of the weights as the zoo imports them."""
    command = [sys.executable, "-c", "from zoo_cli.main import main; raise SystemExit(main())"]
    subprocess.run([*command, "import", str(weights), "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="the Python of the peers' environment")
    parser.add_argument("--peers", default="yolov5,ultralytics", help="which peers, with commas")
    parser.add_argument("--weights", type=Path, help="yolov5n.pt, for detection with real boxes; else all weights are random")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--jobs", default="", help="only jobs that hold this, such as 'train yolov5n'")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    print(f"{arguments.threads} threads, {processor()}")
    with tempfile.TemporaryDirectory() as folder:
        weights = arguments.weights
        own = imported(weights, Path(folder) / "yolov5n") if weights else ""
        sides = [Side("zoo", sys.executable, arguments.threads, own)]
        sides += [Side(p, arguments.peer_python, arguments.threads, str(weights or "")) for p in arguments.peers.split(",")]
        summary = {job: measure(job, sides, arguments.rounds) for job in JOBS if arguments.jobs in job}
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=2) + "\n")


def measure(job: str, sides: list[Side], rounds: int) -> dict[str, float]:
    """Return the median seconds of each side, and the median ratio of ours to each peer's."""
    rows = []
    for turn in range(rounds + 1):  # the first round builds the models and is not counted
        order = sides if turn % 2 else sides[::-1]
        seconds = {side.name: side.run(job) for side in order}
        rows += [seconds] if turn else []
    ours, *peers = [side.name for side in sides]
    figures = {name: statistics.median(row[name] for row in rows) for name in (ours, *peers)}
    figures |= {f"{ours} / {peer}": statistics.median(row[ours] / row[peer] for row in rows) for peer in peers}
    print(f"{job}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()), flush=True)
    return figures


if __name__ == "__main__":
    main()
