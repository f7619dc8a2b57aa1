"""The training loop: it learns, it resumes with the same numbers, and it stops in good order."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.core.stubs import component
from zoo_core import hub
from zoo_core.build import create
from zoo_core.data.open import open_data
from zoo_core.data.samples import DetectionData
from zoo_core.data.specs import ToySpec
from zoo_core.detectors.detector import Detector
from zoo_core.engine.checkpoint import checkpoints
from zoo_core.engine.specs import TrainSpec
from zoo_core.engine.train import Step, train
from zoo_core.errors import CheckpointError, DataError, InputError, TrainingError
from zoo_core.registry import contributed
from zoo_core.specs import ComponentSpec
from zoo_core.types import Assignment

ROOT = Path(__file__).resolve().parents[3]
QUICK: dict[str, Any] = {"learning_rate": 0.01, "workers": 0, "save_every": 2, "augment": {"scale": (0.8, 1.2)}}


@pytest.fixture(scope="module")
def data() -> DetectionData:
    return open_data("toy", "train", format=ToySpec(train=5, val=2))


class DiceSpec(ComponentSpec):
    type: str = "dice"


class Dice:
    """A sampler that takes half of the background by chance: what it takes decides on the numbers."""

    def __init__(self, spec: DiceSpec) -> None:
        pass

    def __call__(self, assignment: Assignment, generator: torch.Generator | None = None) -> Assignment:
        background = assignment.background()
        ignored = assignment.ignored.clone()
        ignored[background[torch.rand(len(background), generator=generator) < 0.5]] = True
        return Assignment(assignment.priors, assignment.targets, ignored)


@pytest.fixture(autouse=True)
def dice(stubs: None) -> Iterator[None]:
    with contributed(component("sampler", "dice", DiceSpec, Dice), distribution="dice"):
        yield


def new_model(seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    return create("plain_two_stage", class_names=("circle", "square", "triangle"), proposer={"sampler": "dice"})


def weights(folder: Path) -> dict[str, Tensor]:
    return hub.load(folder).state_dict()


def logged(out: Path) -> list[dict[str, Any]]:
    """Return the lines of the log but for the speed."""
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "images_per_second"} for record in records]


def stop_after(step: int) -> Callable[[Step], None]:
    def on_step(done: Step) -> None:
        if done.step == step:
            raise KeyboardInterrupt

    return on_step


def test_the_loss_falls(data: DetectionData, tmp_path: Path) -> None:
    steps: list[Step] = []
    last = train(new_model(), data, TrainSpec(steps=30, **QUICK), tmp_path, device="cpu", on_step=steps.append)
    assert [s.step for s in steps] == list(range(1, 31))
    assert sum(s.total for s in steps[-5:]) < 0.7 * sum(s.total for s in steps[:5])
    assert last.name == "step-0000030"
    assert [s.epoch for s in steps[:6]] == [0, 0, 0, 1, 1, 2]  # five images in batches of two


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_gives_the_numbers_of_one_that_never_stopped(data: DetectionData, tmp_path: Path, workers: int) -> None:
    spec = TrainSpec(steps=8, **QUICK | {"workers": workers}, warmup_steps=3)
    straight = train(new_model(), data, spec, tmp_path / "straight", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(new_model(), data, spec, tmp_path / "broken", device="cpu", on_step=stop_after(5))
    # Another beginning: all that counts is in the checkpoint.
    resumed = train(new_model(seed=9), data, spec, tmp_path / "broken", resume=True, device="cpu")
    first, second = weights(straight), weights(resumed)
    assert all(torch.equal(first[key], second[key]) for key in first)
    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("straight", "broken")]
    straight_log, resumed_log = (
        [{k: v for k, v in json.loads(x).items() if k != "images_per_second"} for x in log] for log in logs
    )
    assert straight_log == resumed_log
    assert len(straight_log) == 8


def test_two_runs_of_one_seed_agree_and_of_two_seeds_do_not(data: DetectionData, tmp_path: Path) -> None:
    runs = [
        train(new_model(), data, TrainSpec(steps=3, seed=seed, **QUICK), tmp_path / name, device="cpu")
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, same, other = (weights(run) for run in runs)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_an_interrupt_keeps_the_last_whole_step(data: DetectionData, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(new_model(), data, TrainSpec(steps=9, **QUICK), tmp_path, device="cpu", on_step=stop_after(3))
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000002", "step-0000003"]


def test_a_loss_that_is_not_finite_stops_the_run_before_it_reaches_the_weights(data: DetectionData, tmp_path: Path) -> None:
    model = new_model()

    def poison(done: Step) -> None:
        if done.step == 3:
            with torch.no_grad():
                model.roi_head.output.weight.fill_(float("nan"))  # type: ignore[union-attr,operator]

    with pytest.raises(TrainingError) as raised:
        train(model, data, TrainSpec(steps=9, **QUICK), tmp_path, device="cpu", on_step=poison)
    text = str(raised.value)
    assert text.startswith("step 4: roi_head.classes = nan, ")
    assert re.search(r" = nan in [1-5], [1-5]; stopped before it reached the weights", text)
    assert "the last good checkpoint is " + str(tmp_path / "step-0000002") in text
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path).values())


def test_a_gradient_that_is_not_finite_stops_the_run_as_well(data: DetectionData, tmp_path: Path) -> None:
    model = new_model()

    def poison(done: Step) -> None:
        if done.step == 3:
            next(model.parameters()).register_hook(lambda gradient: gradient * float("inf"))

    with pytest.raises(TrainingError, match=r"step 4: the gradient = (nan|inf) in .*stopped before it reached the weights"):
        train(model, data, TrainSpec(steps=9, **QUICK), tmp_path, device="cpu", on_step=poison)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_an_interrupt_in_the_middle_of_an_update_saves_nothing_of_it(
    data: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine, calls = torch.optim.SGD.step, []

    def interrupted(self: torch.optim.SGD, closure: None = None) -> None:
        calls.append(0)
        if len(calls) == 4:
            raise KeyboardInterrupt
        genuine(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(new_model(), data, TrainSpec(steps=9, **QUICK), tmp_path, device="cpu")
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000002"]


def test_a_full_disk_keeps_the_checkpoint_before(data: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, spec = new_model(), TrainSpec(steps=6, **QUICK)

    def fill(done: Step) -> None:
        if done.step == 3:
            monkeypatch.setattr(hub, "save_file", full)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="No space left on device"):
        train(model, data, spec, tmp_path, device="cpu", on_step=fill)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "log.jsonl", "step-0000002"]


def test_resuming_with_other_settings_is_refused_by_name(data: DetectionData, tmp_path: Path) -> None:
    train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, device="cpu")
    with pytest.raises(CheckpointError, match=r"other settings \(learning_rate\)"):
        train(new_model(), data, TrainSpec(steps=4, **QUICK | {"learning_rate": 1.0}), tmp_path, resume=True, device="cpu")
    fewer = replace(data, samples=[data[0], data[1]])
    with pytest.raises(CheckpointError, match=r"other settings \(data images\)"):
        train(new_model(), fewer, TrainSpec(steps=4, **QUICK), tmp_path, resume=True, device="cpu")
    wider = create("plain_two_stage_wide", class_names=data.class_names, proposer={"sampler": "dice"})
    with pytest.raises(CheckpointError, match=r"other options \(neck\)"):
        train(wider, data, TrainSpec(steps=4, **QUICK), tmp_path, resume=True, device="cpu")
    with pytest.raises(CheckpointError, match="go on with --resume, or give another --out"):
        train(new_model(), data, TrainSpec(steps=4, **QUICK), tmp_path, device="cpu")


def test_a_run_that_is_further_than_asked_for_says_so(data: DetectionData, tmp_path: Path) -> None:
    train(new_model(), data, TrainSpec(steps=4, **QUICK), tmp_path, device="cpu")
    with pytest.raises(CheckpointError, match="already beyond the 2 steps"):
        train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, resume=True, device="cpu")


def test_what_a_kill_has_left_is_swept_up(data: DetectionData, tmp_path: Path) -> None:
    train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, device="cpu")
    (tmp_path / ".step-0000003.abcd1234.tmp").mkdir()
    train(new_model(), data, TrainSpec(steps=3, **QUICK), tmp_path, resume=True, device="cpu")
    assert [path.name for path in tmp_path.glob(".*")] == [".lock"]


@pytest.mark.parametrize("device", ["mps", "meta"])
def test_devices_that_cannot_train(data: DetectionData, tmp_path: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"training runs on cpu or cuda, not on '{device}'"):
        train(new_model(), data, TrainSpec(steps=1, **QUICK), tmp_path, device=device)


@pytest.mark.slow
def test_two_processes_keep_the_same_weights(tmp_path: Path) -> None:
    program = tmp_path / "two.py"
    program.write_text(TWO_PROCESSES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(program), str(tmp_path / "run")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sums = [path.read_text() for path in tmp_path.glob("sum-*")]  # what is printed mixes with what gloo prints
    assert len(sums) == 2
    assert len(set(sums)) == 1
    assert len(logged(tmp_path / "run")) == 2
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-0000002"]


TWO_PROCESSES = """
import os, sys, torch
from pathlib import Path
from tests.core.stubs import STUBS
from zoo_core.build import create
from zoo_core.data.open import open_data
from zoo_core.data.specs import ToySpec
from zoo_core.engine.specs import TrainSpec
from zoo_core.engine.train import train
from zoo_core.registry import contributed

with contributed(*STUBS):
    torch.manual_seed(0)
    data = open_data("toy", "train", format=ToySpec(train=8, val=1))
    model = create("plain_two_stage", class_names=data.class_names)
    train(model, data, TrainSpec(steps=2, workers=0), sys.argv[1], device="cpu")
    total = sum(parameter.double().abs().sum().item() for parameter in model.parameters())
    Path(sys.argv[1]).with_name("sum-" + os.environ["RANK"]).write_text(repr(total))
"""


def test_a_finished_run_is_not_run_again(data: DetectionData, tmp_path: Path) -> None:
    spec = TrainSpec(steps=2, **QUICK)
    last = train(new_model(), data, spec, tmp_path, device="cpu")
    assert train(new_model(), data, spec, tmp_path, resume=True, device="cpu", on_step=stop_after(1)) == last


def test_only_the_last_checkpoints_are_kept(data: DetectionData, tmp_path: Path) -> None:
    train(new_model(), data, TrainSpec(steps=6, keep=1, **QUICK), tmp_path, device="cpu")
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000006"]


def test_a_bad_image_stops_the_run_or_is_counted(data: DetectionData, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    samples = [replace(data[0], path=broken, draw=None), *list(data)[1:]]
    spoilt = replace(data, samples=samples)
    with pytest.raises(DataError, match=r"broken\.png"):
        train(new_model(), spoilt, TrainSpec(steps=3, **QUICK), tmp_path / "a", device="cpu")
    steps: list[Step] = []
    spec = TrainSpec(steps=5, skip_bad=True, **QUICK)
    train(new_model(), spoilt, spec, tmp_path / "b", device="cpu", on_step=steps.append)
    assert steps[-1].skipped == 2  # ten images drawn of five, so each one twice


def test_copies_and_links_of_the_user_are_left_alone(data: DetectionData, tmp_path: Path) -> None:
    spec = TrainSpec(steps=2, keep=1, **QUICK)
    train(new_model(), data, spec, tmp_path, device="cpu")
    shutil.copytree(tmp_path / "step-0000002", tmp_path / "step-0000002-best")
    (tmp_path / "step-best").symlink_to("step-0000002")
    last = train(new_model(), data, TrainSpec(steps=4, keep=1, **QUICK), tmp_path, resume=True, device="cpu")
    assert last.name == "step-0000004"
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-0000002-best", "step-0000004", "step-best"]


def test_checkpoints_are_in_the_order_of_their_numbers(data: DetectionData, tmp_path: Path) -> None:
    train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, device="cpu")
    for name in ("step-9999999", "step-10000000"):
        shutil.copytree(tmp_path / "step-0000002", tmp_path / name)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000002", "step-9999999", "step-10000000"]
    assert hub.locate(tmp_path).name == "step-10000000"


def test_two_runs_do_not_write_to_one_folder(data: DetectionData, tmp_path: Path) -> None:
    def second(done: Step) -> None:
        train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, device="cpu")

    with pytest.raises(CheckpointError, match="another training is writing to"):
        train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, device="cpu", on_step=second)


def test_a_folder_of_something_else_is_not_trained_into(data: DetectionData, tmp_path: Path) -> None:
    hub.save(new_model(), tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds a saved model; train into another folder"):
        train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path / "model", device="cpu")
    (tmp_path / "log.jsonl").write_text("my diary\n")
    with pytest.raises(CheckpointError, match="is not the log of a training"):
        train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, device="cpu")
    assert (tmp_path / "log.jsonl").read_text() == "my diary\n"


@pytest.mark.parametrize("content", ["[" * 100_000, "{}", '{"step": -5}', "\xff"])
def test_a_damaged_state_is_told(data: DetectionData, tmp_path: Path, content: str) -> None:
    last = train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, device="cpu")
    (last / "training.json").write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"training.json cannot be used to resume"):
        train(new_model(), data, TrainSpec(steps=4, **QUICK), tmp_path, resume=True, device="cpu")


def test_damaged_momenta_are_refused(data: DetectionData, tmp_path: Path) -> None:
    last = train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, device="cpu")
    path = last / "optimizer.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    for damaged in (tensors | {name: tensors[name] * float("nan")}, {name.replace("momentum_buffer", "evil"): tensors[name]}):
        save_file(damaged, path)
        with pytest.raises(CheckpointError, match="does not fit the model, or is damaged"):
            train(new_model(), data, TrainSpec(steps=4, **QUICK), tmp_path, resume=True, device="cpu")


def test_mistakes_before_the_first_step(data: DetectionData, tmp_path: Path) -> None:
    spec = TrainSpec(steps=1, **QUICK)
    with pytest.raises(InputError, match=r"the model a, b, c; create the model with class_names=data.class_names"):
        train(create("plain_two_stage", class_names=("a", "b", "c")), data, spec, tmp_path, device="cpu")
    with pytest.raises(TrainingError, match="no images"):
        train(new_model(), replace(data, samples=[]), spec, tmp_path, device="cpu")
    with pytest.raises(TrainingError, match="everything is frozen"):
        train(new_model().requires_grad_(False), data, spec, tmp_path, device="cpu")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot write to"):
        train(new_model(), data, spec, tmp_path / "file" / "run", device="cpu")


def test_bfloat16_trains(data: DetectionData, tmp_path: Path) -> None:
    steps: list[Step] = []
    spec = TrainSpec(steps=3, precision="bf16", **QUICK)
    train(new_model(), data, spec, tmp_path, device="cpu", on_step=steps.append)
    assert all(0 < s.total < 100 for s in steps)
