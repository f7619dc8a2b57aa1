"""The training loop: it learns, it resumes with the same numbers, and it stops in good order."""

from __future__ import annotations

import json
import math
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
from accelerate.optimizer import AcceleratedOptimizer
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn

from tests.core.stubs import Blocks, BlocksSpec, component
from zoo_core import hub
from zoo_core.create import create
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
from zoo_core.types import Assignment, Features, Targets

ROOT = Path(__file__).resolve().parents[3]
QUICK: dict[str, Any] = {"learning_rate": 0.01, "workers": 0, "save_every": 2, "augment": {"scale": (0.8, 1.2)}}
AVERAGED: dict[str, Any] = QUICK | {"ema": 0.9, "nesterov": True, "decay_all": False, "schedule": "linear", "final_rate": 0.1}
ADAMW: dict[str, Any] = QUICK | {"ema": 0.9, "optimizer": "adamw", "learning_rate": 0.001}


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


class NormedSpec(BlocksSpec):
    type: str = "normed"


class Normed(Blocks):
    """Maps with batch norm, whose statistics are floats and whose count is not."""

    def __init__(self, spec: NormedSpec) -> None:
        super().__init__(spec)
        self.norm = nn.BatchNorm2d(spec.width)

    def forward(self, images: Tensor) -> Features:
        fine = self.norm(self.fine(images)).tanh()
        return {8: fine, 16: self.coarse(fine)}


@pytest.fixture(autouse=True)
def parts(stubs: None) -> Iterator[None]:
    own = (component("sampler", "dice", DiceSpec, Dice), component("backbone", "normed", NormedSpec, Normed))
    with contributed(*own, distribution="dice"):
        yield


def new_model(seed: int = 0, backbone: str = "blocks", **options: Any) -> Detector:
    torch.manual_seed(seed)
    backbone_options = {"type": backbone} | options
    names = ("circle", "square", "triangle")
    return create("plain_two_stage", class_names=names, backbone=backbone_options, proposer={"sampler": "dice"})


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


@pytest.mark.parametrize(
    "options", [QUICK, QUICK | {"workers": 1}, AVERAGED, ADAMW], ids=["plain", "workers", "averaged", "adamw"]
)
def test_a_resumed_run_gives_the_numbers_of_one_that_never_stopped(
    data: DetectionData, tmp_path: Path, options: dict[str, Any]
) -> None:
    spec = TrainSpec(steps=8, **options, warmup_steps=3)
    straight = train(new_model(0, "normed"), data, spec, tmp_path / "straight", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(new_model(0, "normed"), data, spec, tmp_path / "broken", device="cpu", on_step=stop_after(5))
    # Another beginning: all that counts is in the checkpoint.
    model = new_model(9, "normed")
    resumed = train(model, data, spec, tmp_path / "broken", resume=True, device="cpu")
    files = {path.name for path in straight.iterdir()}
    assert files == {"config.json", "model.safetensors", "optimizer.safetensors", "training.json"} | (
        {"training.safetensors"} if spec.ema else set()
    )
    assert [name for name in files if (straight / name).read_bytes() != (resumed / name).read_bytes()] == []
    left = model.state_dict()
    assert all(torch.equal(tensor, left[name]) for name, tensor in weights(resumed).items())
    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("straight", "broken")]
    straight_log, resumed_log = (
        [{k: v for k, v in json.loads(x).items() if k != "images_per_second"} for x in log] for log in logs
    )
    assert straight_log == resumed_log
    assert len(straight_log) == 8


def test_the_average_is_what_is_saved_and_left_behind(data: DetectionData, tmp_path: Path) -> None:
    model = new_model(0, "normed")
    mean = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    now: dict[str, Tensor] = {}
    spec = TrainSpec(steps=4, **AVERAGED)

    def follow(done: Step) -> None:
        decay = 0.9 * (1 - math.exp(-done.step / 4))  # so short a run climbs for all its length
        for name, tensor in model.state_dict().items():
            now[name] = tensor.clone()
            whole = not tensor.is_floating_point()
            mean[name] = tensor.clone() if whole else decay * mean[name] + (1 - decay) * tensor

    last = train(model, data, spec, tmp_path, device="cpu", on_step=follow)
    trained = load_file(last / "training.safetensors")
    assert all(torch.equal(tensor, now[name]) for name, tensor in trained.items())
    for found in (weights(tmp_path), model.state_dict()):
        torch.testing.assert_close(found, mean)
    assert mean["backbone.norm.num_batches_tracked"] == 4
    differ = {name for name in mean if not torch.allclose(mean[name], now[name])}
    assert {"backbone.fine.weight", "backbone.norm.running_var"} <= differ


def test_a_run_without_an_average_trains_as_one_with_it(data: DetectionData, tmp_path: Path) -> None:
    plain = train(new_model(0, "normed"), data, TrainSpec(steps=4, **QUICK), tmp_path / "plain", device="cpu")
    averaged = train(new_model(0, "normed"), data, TrainSpec(steps=4, ema=0.5, **QUICK), tmp_path / "ema", device="cpu")
    for ours, theirs in (("model", "training"), ("optimizer", "optimizer")):
        first, second = load_file(plain / f"{ours}.safetensors"), load_file(averaged / f"{theirs}.safetensors")
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_frozen_stays_as_it_is_under_an_average(data: DetectionData, tmp_path: Path) -> None:
    model = new_model(0, "normed", frozen=True)
    before = {name: tensor.clone() for name, tensor in model.backbone.fine.state_dict().items()}  # type: ignore[union-attr,operator]
    train(model, data, TrainSpec(steps=3, **AVERAGED), tmp_path, device="cpu")
    found = load_file(tmp_path / "step-0000003" / "model.safetensors")
    assert all(torch.equal(tensor, found[f"backbone.fine.{name}"]) for name, tensor in before.items())


def test_a_step_that_the_scaler_leaves_out_does_not_count(
    data: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As fp16 does, which needs a GPU: the second step is left out."""
    genuine, calls = AcceleratedOptimizer.step, []

    def step(self: AcceleratedOptimizer, closure: None = None) -> None:
        calls.append(0)
        if len(calls) != 2:
            genuine(self, closure)

    monkeypatch.setattr(AcceleratedOptimizer, "step", step)
    monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", property(lambda self: len(calls) == 2))
    model = new_model()
    mean = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def follow(done: Step) -> None:
        if done.step != 2:
            decay = 0.9 * (1 - math.exp(-(1 if done.step == 1 else 2) / 3))
            mean.update({name: decay * mean[name] + (1 - decay) * tensor for name, tensor in model.state_dict().items()})

    last = train(model, data, TrainSpec(steps=3, **AVERAGED), tmp_path, device="cpu", on_step=follow)
    torch.testing.assert_close(weights(last), mean)
    assert json.loads((last / "training.json").read_text())["updates"] == 2


def test_an_interrupted_run_leaves_the_average_that_it_saves(data: DetectionData, tmp_path: Path) -> None:
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        train(model, data, TrainSpec(steps=9, **AVERAGED), tmp_path, device="cpu", on_step=stop_after(3))
    assert checkpoints(tmp_path)[-1].name == "step-0000003"
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in weights(tmp_path).items())


@pytest.mark.parametrize("options", [AVERAGED, ADAMW], ids=["averaged", "adamw"])
def test_a_run_with_an_average_learns(data: DetectionData, tmp_path: Path, options: dict[str, Any]) -> None:
    steps: list[Step] = []
    spec = TrainSpec(steps=30, **options | {"save_every": 30})
    train(new_model(), data, spec, tmp_path, device="cpu", on_step=steps.append)
    assert sum(s.total for s in steps[-5:]) < 0.8 * sum(s.total for s in steps[:5])


def test_images_without_boxes_train(data: DetectionData, tmp_path: Path) -> None:
    empty = replace(data, samples=[replace(sample, targets=Targets()) for sample in data])
    steps: list[Step] = []
    train(new_model(), empty, TrainSpec(steps=3, **AVERAGED), tmp_path, device="cpu", on_step=steps.append)
    assert all(math.isfinite(s.total) and s.losses["proposer.boxes"] == 0 for s in steps)
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path).values())


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
    for options in ({"ema": 0.9}, {"optimizer": "adamw"}, {"nesterov": True}, {"decay_all": False}):
        with pytest.raises(CheckpointError, match=rf"other settings \({next(iter(options))}\)"):
            train(new_model(), data, TrainSpec(steps=4, **QUICK | options), tmp_path, resume=True, device="cpu")
    fewer = replace(data, samples=[data[0], data[1]])
    with pytest.raises(CheckpointError, match=r"other settings \(data images\)"):
        train(new_model(), fewer, TrainSpec(steps=4, **QUICK), tmp_path, resume=True, device="cpu")
    wider = create("plain_two_stage_wide", class_names=data.class_names, proposer={"sampler": "dice"})
    with pytest.raises(CheckpointError, match=r"other options \(neck\)"):
        train(wider, data, TrainSpec(steps=4, **QUICK), tmp_path, resume=True, device="cpu")
    with pytest.raises(CheckpointError, match="go on with --resume, or give another --out"):
        train(new_model(), data, TrainSpec(steps=4, **QUICK), tmp_path, device="cpu")


def test_a_run_from_before_an_option_was_there_goes_on_with_its_default(data: DetectionData, tmp_path: Path) -> None:
    last = train(new_model(), data, TrainSpec(steps=2, **QUICK), tmp_path, device="cpu")
    state = json.loads((last / "training.json").read_text())
    del state["options"]["ema"], state["options"]["optimizer"], state["updates"]
    (last / "training.json").write_text(json.dumps(state))
    assert train(new_model(), data, TrainSpec(steps=3, **QUICK), tmp_path, resume=True, device="cpu").name == "step-0000003"
    (last / "training.json").write_text(json.dumps(state | {"options": {"of": "later"}}))
    shutil.rmtree(tmp_path / "step-0000003")
    with pytest.raises(CheckpointError, match=r"other settings \(.*optimizer.*\)"):
        train(new_model(), data, TrainSpec(steps=3, **QUICK), tmp_path, resume=True, device="cpu")


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
@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "optimizer": "adamw"}], ids=["plain", "averaged"])
def test_two_processes_keep_the_same_weights(tmp_path: Path, options: dict[str, Any]) -> None:
    program = tmp_path / "two.py"
    program.write_text(TWO_PROCESSES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(program), str(tmp_path / "run"), json.dumps(options)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sums = [path.read_text() for path in tmp_path.glob("sum-*")]  # what is printed mixes with what gloo prints
    assert len(sums) == 2
    assert len(set(sums)) == 1
    assert len(logged(tmp_path / "run")) == 2
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-0000002"]


TWO_PROCESSES = """
import json, os, sys, torch
from pathlib import Path
from tests.core.stubs import STUBS
from zoo_core.create import create
from zoo_core.data.open import open_data
from zoo_core.data.specs import ToySpec
from zoo_core.engine.specs import TrainSpec
from zoo_core.engine.train import train
from zoo_core.registry import contributed

with contributed(*STUBS):
    torch.manual_seed(int(os.environ["RANK"]))  # the first one's weights are everyone's
    data = open_data("toy", "train", format=ToySpec(train=8, val=1))
    model = create("plain_two_stage", class_names=data.class_names)
    model.backbone.coarse = torch.nn.Sequential(model.backbone.coarse, torch.nn.BatchNorm2d(8))
    train(model, data, TrainSpec(steps=2, workers=0, **json.loads(sys.argv[2])), sys.argv[1], device="cpu")
    total = [tensor.double().abs().sum().item() for tensor in model.state_dict().values()]
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


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("exp_avg", lambda tensor: tensor[:1]),
        ("exp_avg_sq", lambda tensor: -tensor - 1),
        ("exp_avg", lambda tensor: tensor.long()),
        ("step", lambda tensor: tensor + 1),
        ("step", lambda tensor: tensor * 0),
        ("step", lambda tensor: tensor - 0.5),
        ("step", lambda tensor: tensor.view(1)),
        ("exp_avg_sq", lambda tensor: None),
    ],
    ids=["cut", "negative", "whole", "beyond", "none", "half", "shape", "missing"],
)
def test_a_damaged_state_of_adamw_is_refused(
    data: DetectionData, tmp_path: Path, name: str, change: Callable[[Tensor], Tensor | None]
) -> None:
    last = train(new_model(), data, TrainSpec(steps=2, **ADAMW), tmp_path, device="cpu")
    path = last / "optimizer.safetensors"
    changed = {
        key: change(tensor) if key == f"neck.layers.8.weight|{name}" else tensor
        for key, tensor in load(path.read_bytes()).items()
    }
    save_file({key: tensor for key, tensor in changed.items() if tensor is not None}, path)
    with pytest.raises(CheckpointError, match=r"state of 'neck.layers.8.weight' does not fit the model, or is damaged"):
        train(new_model(), data, TrainSpec(steps=4, **ADAMW), tmp_path, resume=True, device="cpu")


def test_damaged_weights_to_train_on_with_are_refused(data: DetectionData, tmp_path: Path) -> None:
    last, spec = (
        train(new_model(), data, TrainSpec(steps=2, **AVERAGED), tmp_path, device="cpu"),
        TrainSpec(steps=4, **AVERAGED),
    )
    path = last / "training.safetensors"
    whole = path.read_bytes()
    tensors = load(whole)  # not `load_file`, whose tensors lie in the file that is changed below
    name = next(iter(tensors))

    def refused(match: str) -> None:
        with pytest.raises(CheckpointError, match=match):
            train(new_model(), data, spec, tmp_path, resume=True, device="cpu")

    path.write_bytes(whole[: len(whole) // 2])
    refused(r"training\.safetensors is damaged or not a safetensors file")
    save_file(tensors | {name: tensors[name] * float("nan")}, path)
    refused(rf"training\.safetensors: {name} holds values that are not finite")
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, path)
    refused(rf"training\.safetensors does not fit its config.json: {name} has shape None")
    path.unlink()
    refused(r"step-0000002 is incomplete: training\.safetensors is missing")
    state = json.loads((last / "training.json").read_text())
    (last / "training.json").write_text(json.dumps(state | {"updates": 3}))
    refused(r"training\.json cannot be used to resume: updates: Value error, 3 updates of the average in 2 steps")


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
