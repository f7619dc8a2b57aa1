"""The road of an outsider: wheels of everything into a fresh environment, and a plugin that comes, goes, and breaks.

The fresh environment has the third-party libraries of this one, by links, so that nothing is downloaded; of the zoo it has
nothing but what is installed from the wheels.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "zoo-sum-neck"
OURS = ("zoo", "_editable_impl_zoo", "__editable__.zoo", "__editable___zoo")

USE = """
import torch, zoo
assert "site-packages" in zoo.__file__, zoo.__file__

images = [torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8)]
targets = [zoo.Targets(torch.tensor([[10.0, 20, 60, 80]]), torch.tensor([1]))]
small = {"preprocess": {"short_side": 96, "long_side": 128}, "roi_head": {"width": 64}}
model = zoo.create("faster_rcnn_r18_fpn", num_classes=2, NECK **small)
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.001)
model.train()
for step in range(2):
    loss = sum(model(images, targets).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    assert loss.isfinite(), loss
found = zoo.load(zoo.save(model, "saved")).predict(images)
assert len(found) == 1 and isinstance(found[0], zoo.Detections)
print(type(model.neck).__module__)
"""

IMPORT = """
import torch, zoo
from zoo_core.importing import import_model
from zoo_yolo.darknet.weights import write

model = zoo.create("yolov4_tiny", class_names=("a", "b"))
write("mine.weights", model)
with open("mine.cfg", "w") as file:
    file.write("[net]\\nwidth=32\\nheight=32\\n[conwolutional]\\n")
try:
    import_model("mine.weights")
except zoo.ZooError as error:
    print(error)
found = import_model("mine.weights", recipe="yolov4_tiny", class_names=("a", "b"))
print(found.recipe, all(torch.equal(a, b) for a, b in zip(model.parameters(), found.parameters(), strict=True)))
"""

TELL = """
import zoo
try:
    {}
except zoo.ZooError as error:
    print(error)
"""

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """Run a command outside of the repository and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ZOO_", "VIRTUAL_ENV"))}
    environment["COLUMNS"] = "80"
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wheel(source: Path, out: Path) -> Path:
    """Build the wheel of a project."""
    alone = [] if importlib.util.find_spec("hatchling") is None else ["--no-isolation"]
    run(sys.executable, "-m", "build", "--wheel", *alone, "--outdir", out, source, cwd=out.parent)
    return max(out.glob("*.whl"), key=lambda path: path.stat().st_mtime_ns)


@dataclass(frozen=True)
class Fresh:
    """An environment with nothing of the zoo, and the folder to work in."""

    folder: Path
    work: Path

    @property
    def bin(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    def pip(self, *arguments: str | Path) -> None:
        """Run pip, or uv in its place, without an index: what a wheel needs has to be there."""
        if importlib.util.find_spec("pip") is not None:
            run(self.bin / "python", "-m", "pip", *arguments, cwd=self.work)
        else:
            words = [word for word in arguments if word != "--yes"]
            run("uv", "pip", words[0], "--python", self.bin / "python", *words[1:], cwd=self.work)

    def install(self, *wheels: Path) -> None:
        self.pip("install", "--no-index", "--no-deps", *wheels)

    def uninstall(self, distribution: str) -> None:
        self.pip("uninstall", "--yes", distribution)

    def cli(self, *arguments: str, status: int = 0) -> str:
        return run(self.bin / "zoo-cli", *arguments, cwd=self.work, status=status)

    def python(self, program: str, status: int = 0) -> str:
        return run(self.bin / "python", "-c", program, cwd=self.work, status=status)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Return a folder with the wheels of the core and of the plugins."""
    out = tmp_path_factory.mktemp("wheels") / "all"
    for source in (ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))):
        wheel(source, out)
    return out


@pytest.fixture(scope="module")
def fresh(tmp_path_factory, built) -> Fresh:
    """Return an environment with the core and the plugins installed from their wheels."""
    base = tmp_path_factory.mktemp("fresh")
    libraries, made = base / "libraries", Fresh(base / "environment", base / "work")
    libraries.mkdir()
    made.work.mkdir()
    for place in {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]}:
        for entry in Path(place).iterdir():
            if not entry.name.startswith(OURS):
                (libraries / entry.name).symlink_to(entry)
    venv.create(made.folder, with_pip=False, symlinks=os.name != "nt")
    site = made.python("import sysconfig; print(sysconfig.get_paths()['purelib'], end='')")
    Path(site, "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    made.python("import torch, importlib.util as u; assert not any(map(u.find_spec, ('zoo', 'zoo_core', 'zoo_cli')))")
    made.install(*built.glob("*.whl"))
    return made


@pytest.fixture(scope="module")
def before(fresh) -> str:
    """Return what is listed when no plugin of a stranger is there."""
    return fresh.cli("list")


def test_what_is_listed_is_what_the_wheels_bring(fresh, before) -> None:
    assert "faster_rcnn_r101_fpn" in before
    assert "yolov5n" in before
    assert "weighted_sum" not in before
    assert {plugin["status"] for plugin in json.loads(fresh.cli("plugins", "--json"))} == {"ok"}
    assert fresh.python(USE.replace("NECK", "")) == "zoo_fpn.fpn\n"


def test_the_importers_come_with_the_wheel_of_yolo(fresh) -> None:
    assert fresh.python(IMPORT).splitlines() == [
        "mine.cfg, line 4: no section [conwolutional]; did you mean 'convolutional'?",
        "yolov4_tiny True",
    ]


def test_wheels_hold_what_they_need_and_no_more(built) -> None:
    import zipfile

    for path in built.glob("*.whl"):
        names = zipfile.ZipFile(path).namelist()
        tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
        assert tops == ({"zoo", "zoo_core", "zoo_cli"} if path.name.startswith("zoo_core-") else {path.name.split("-")[0]})
        assert all(f"{top}/py.typed" in names for top in tops)
        about = next(name for name in names if name.endswith(".dist-info/METADATA"))
        assert about.replace("METADATA", "licenses/LICENSE") in names
        assert zipfile.ZipFile(path).read(about).count(b"\n# ") >= 1, "it shows no README"


def test_a_strangers_neck_comes_and_goes(fresh, before, tmp_path) -> None:
    fresh.install(wheel(EXAMPLE, tmp_path / "wheels"))
    try:
        shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")  # away from the settings of the repository, and from its modules
        tests = run(fresh.bin / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=tmp_path)
        assert re.search(r"^\d+ passed", tests, re.MULTILINE), tests
        necks = fresh.cli("list", "--kind", "neck")
        assert re.search(r"^  weighted_sum +zoo-sum-neck +pyramid whose maps", necks, re.MULTILINE), necks
        assert "\nwidth    int > 0" in fresh.cli("show", "weighted_sum")
        assert fresh.python(USE.replace("NECK", 'neck="weighted_sum",')) == "zoo_sum_neck.weighted_sum\n"
    finally:
        fresh.uninstall("zoo-sum-neck")
    assert fresh.cli("list") == before
    assert "pip install zoo-sum-neck==0.1.0" in fresh.python(TELL.format("zoo.load('saved')"))


def test_a_strangers_plugin_that_breaks_harms_nobody(fresh, before, tmp_path) -> None:
    source = tmp_path / "broken"
    shutil.copytree(EXAMPLE, source)
    plugin = source / "zoo_sum_neck" / "plugin.py"
    plugin.write_text("raise ImportError('broken on purpose')\n", encoding="utf-8")
    fresh.install(wheel(source, tmp_path / "wheels"))
    try:
        assert fresh.cli("list") == before
        assert fresh.python(USE.replace("NECK", "")) == "zoo_fpn.fpn\n"
        told = fresh.cli("plugins")
        assert "\nzoo-sum-neck: ImportError: broken on purpose\n" in told
        assert "pip uninstall zoo-sum-neck" in told
        status = {plugin["distribution"]: plugin["status"] for plugin in json.loads(fresh.cli("plugins", "--json"))}
        assert status.pop("zoo-sum-neck") == "broken"
        assert set(status.values()) == {"ok"}
        attempt = TELL.format("zoo.create('faster_rcnn_r18_fpn', neck='weighted_sum')")
        assert "zoo-sum-neck is broken: ImportError: broken on purpose" in fresh.python(attempt)
    finally:
        fresh.uninstall("zoo-sum-neck")
    assert fresh.cli("list") == before
