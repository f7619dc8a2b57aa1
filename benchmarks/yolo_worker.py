"""One side of ``against_yolov5.py``: answers jobs on standard input with seconds on standard output.

    python benchmarks/yolo_worker.py {zoo,yolov5,ultralytics} THREADS [WEIGHTS]

It runs under the Python of its own environment, so that the zoo and its peers never share one. A line ``detect yolov5n 8``
or ``train yolov5s 1`` runs the job once, and is answered by a line of JSON.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import torch

SIDE, CLASSES, OBJECTS = 640, 80, 8
SCORE, OVERLAP = 0.25, 0.45  # the peers' defaults for detection
Job = Callable[[], object]


def images(count: int) -> list[np.ndarray[Any, Any]]:
    """Return RGB images (480, 640, 3) of soft noise, the same on every side."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(count)]


def boxes() -> np.ndarray[Any, Any]:
    """Return the objects (8, 4) of every image, xyxy in pixels."""
    random = np.random.default_rng(1)
    corner = random.uniform(0, 400, (OBJECTS, 2))
    return np.concatenate([corner, corner + random.uniform(20, 80, (OBJECTS, 2))], axis=1).astype(np.float32)


def zoo_job(task: str, name: str, count: int, weights: str) -> Job:
    import zoo

    nano = bool(weights) and name == "yolov5n"
    model = zoo.load(weights) if nano else zoo.create(name, head={"least_score": SCORE, "nms_iou": OVERLAP})
    if nano:
        model.head.spec = model.head.spec.model_copy(update={"least_score": SCORE, "nms_iou": OVERLAP})
    given = images(count)
    if task == "detect":
        model.eval()
        return lambda: model.predict(given, batch_size=count)
    pixels = [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1) for image in given]
    targets = [zoo.Targets(torch.from_numpy(boxes()), torch.arange(OBJECTS)) for _ in given]
    batch = model.preprocess(pixels, targets)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, nesterov=True)

    def step() -> None:
        torch.stack(list(model.train()(batch).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def yolov5_job(task: str, name: str, count: int, weights: str) -> Job:
    # The package is from before torch refused pickled modules; these weights are trusted.
    torch.load = functools.partial(torch.load, weights_only=False)
    import yolov5
    from yolov5.models.common import AutoShape
    from yolov5.models.yolo import DetectionModel

    given = images(count)
    model = DetectionModel(f"{next(iter(yolov5.__path__))}/models/{name}.yaml", ch=3, nc=CLASSES)
    if task == "detect":
        shaped = yolov5.load(weights, device="cpu") if weights and name == "yolov5n" else AutoShape(model.fuse().eval())
        shaped.conf, shaped.iou = SCORE, OVERLAP
        return lambda: shaped(given, size=SIDE)
    from yolov5.utils.loss import ComputeLoss

    model.hyp = {"box": 0.05, "cls": 0.5, "cls_pw": 1.0, "obj": 1.0, "obj_pw": 1.0, "anchor_t": 4.0}
    model.hyp |= {"fl_gamma": 0.0, "label_smoothing": 0.0}
    loss = ComputeLoss(model)
    frame, targets = letterboxed(given)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, nesterov=True)

    def step() -> None:
        total, _ = loss(model.train()(frame), targets)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def ultralytics_job(task: str, name: str, count: int, weights: str) -> Job:  # noqa: ARG001
    """The peer's present models of these names: a newer, anchor-free head on the same body."""
    from types import SimpleNamespace

    from ultralytics import YOLO

    model = YOLO(f"{name}u.yaml", task="detect")
    given = images(count)
    if task == "detect":
        bgr = [np.ascontiguousarray(image[:, :, ::-1]) for image in given]
        return lambda: model.predict(bgr, imgsz=SIDE, conf=SCORE, iou=OVERLAP, verbose=False, device="cpu", batch=count)
    net = model.model
    net.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    frame, targets = letterboxed(given)
    batch = {"img": frame, "batch_idx": targets[:, 0], "cls": targets[:, 1:2], "bboxes": targets[:, 2:]}
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9, nesterov=True)

    def step() -> None:
        total, _ = net.train()(batch)
        total.sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def letterboxed(given: list[np.ndarray[Any, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images as (N, 3, 480, 640) from 0 to 1, and rows (image, class, x, y, width, height), relative."""
    frame = torch.from_numpy(np.stack(given)).permute(0, 3, 1, 2).float().div(255).contiguous()
    found = torch.from_numpy(boxes()) / torch.tensor([640.0, 480, 640, 480])
    relative = torch.cat([(found[:, :2] + found[:, 2:]) / 2, found[:, 2:] - found[:, :2]], dim=1)
    labels = torch.arange(OBJECTS)[:, None].float()
    rows = [torch.cat([torch.full((OBJECTS, 1), float(k)), labels, relative], dim=1) for k in range(len(given))]
    return frame, torch.cat(rows)


SIDES = {"zoo": zoo_job, "yolov5": yolov5_job, "ultralytics": ultralytics_job}


def main() -> None:
    side, threads, weights = sys.argv[1], int(sys.argv[2]), (sys.argv[3:] or [""])[0]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    jobs: dict[str, Job] = {}
    answers = sys.stdout
    with redirect_stdout(sys.stderr):
        for line in sys.stdin:
            task, name, count = line.split()
            if line not in jobs:
                jobs[line] = SIDES[side](task, name, int(count), weights)
            start = time.perf_counter()
            jobs[line]()
            print(json.dumps({"seconds": time.perf_counter() - start, "torch": torch.__version__}), file=answers, flush=True)


if __name__ == "__main__":
    main()
