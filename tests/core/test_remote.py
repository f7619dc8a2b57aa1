"""Models on the Hub: the genuine client and a server on loopback. What goes there comes back; what goes wrong is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import SafetensorError

from tests.hub.server import Fault, Hub
from zoo_core import card, hub, provenance, remote
from zoo_core.access import Access
from zoo_core.create import create
from zoo_core.data.open import open_data
from zoo_core.detectors.detector import Detector
from zoo_core.engine.specs import TrainSpec
from zoo_core.engine.train import train
from zoo_core.errors import CheckpointError, HubError, InputError
from zoo_core.provenance import Origin, Provenance
from zoo_core.push import push

pytestmark = [
    pytest.mark.usefixtures("stubs", "server"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # of the client's upload
]
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("Car", "Pedestrian", "Radfahrer ü")
PULL = """
import sys, torch
from tests.core.stubs import STUBS
from zoo_core import registry, remote
with registry.contributed(*STUBS):
    model = remote.load(*sys.argv[2:])
    image = (torch.arange(3 * 90 * 120) * 37 % 256).to(torch.uint8).view(3, 90, 120)
    found = model.predict(image)[0]
    torch.save([found.boxes, found.scores, found.labels], sys.argv[1])
"""


@pytest.fixture
def model() -> Detector:
    torch.manual_seed(0)
    return create("plain_one_stage", class_names=NAMES).eval()


@pytest.fixture
def pushed(model: Detector) -> str:
    push(model, "org/name")
    return "org/name"


def values(model: Detector) -> list[float]:
    return [float(tensor.double().sum()) for tensor in model.state_dict().values()]


def changed(model: Detector, value: float = 1.0) -> Detector:
    with torch.no_grad():
        next(model.parameters()).add_(value)
    return model


def cache_of(environment: dict[str, str]) -> Path:
    return Path(environment["HF_HUB_CACHE"])


@pytest.mark.slow
def test_trained_pushed_and_pulled_by_another_process_it_finds_the_same_to_the_bit(
    server: Hub, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    data = open_data("toy", "train")
    model = create("plain_one_stage", class_names=data.class_names)
    run = train(model, data, TrainSpec(steps=2, batch_size=2, learning_rate=1e-3), tmp_path / "run", device="cpu")
    url = push(run, "org/toy")
    assert re.fullmatch(re.escape(server.url) + r"/org/toy/commit/[0-9a-f]{40}", url)
    image = (torch.arange(3 * 90 * 120) * 37 % 256).to(torch.uint8).view(3, 90, 120)
    due = hub.load(run).predict(image)[0]
    assert len(due) > 0
    environment = {**os.environ, **hub_environment, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "second")}
    environment["HF_HUB_CACHE"] = str(tmp_path / "second" / "hub")

    def pulled(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PULL, str(tmp_path / "found"), *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    for reachable in (True, False):
        done = pulled("org/toy")
        assert done.returncode == 0, done.stderr
        boxes, scores, labels = torch.load(tmp_path / "found")
        assert torch.equal(boxes, due.boxes)
        assert torch.equal(scores, due.scores)
        assert torch.equal(labels, due.labels)
        (tmp_path / "found").unlink()
        assert reachable or "is taken from the cache" in done.stderr
        server.stop()
    text = server.head("org/toy")[card.CARD].decode()
    assert "- steps: 2\n" in text
    assert "- data: toy, train, " in text


def test_what_is_in_the_repository(server: Hub, pushed: str) -> None:
    files = server.head(pushed)
    assert sorted(files) == [".gitattributes", "README.md", "config.json", "model.safetensors", "training.json"]
    repo = server.repos[pushed]
    assert len(repo.order) == 2, "one commit"
    assert set(repo.tagged()["tags"]) >= {"zoo", "object-detection", "plain_one_stage"}


def test_how_it_was_trained_goes_along(server: Hub, model: Detector, tmp_path: Path) -> None:
    known = Provenance(step=3, options={"seed": 4}, began=Origin(kind="recipe", name="plain_one_stage"))
    model.provenance = known
    push(model, "org/name")
    again = remote.load("org/name")
    assert again.provenance is not None
    assert again.provenance.model_dump() == known.model_dump()
    commit = server.repos["org/name"].branches["main"]
    begun = Origin(kind="hub", name="org/name", commit=commit)
    assert again.provenance.origin == begun
    other = create("plain_one_stage", class_names=("Car",), weights="org/name")
    assert other.provenance == Provenance(began=begun)
    push(other, "org/other")
    assert server.repos["org/other"].tagged()["cardData"]["base_model"] == "org/name"
    model.provenance = None
    push(changed(model), "org/name")
    assert provenance.FILE not in server.head("org/name"), "it was of other weights"
    assert remote.load("org/name").provenance is None


@pytest.mark.parametrize("content", [b"{", b'{"step": -1}'])
def test_a_provenance_that_is_malformed(server: Hub, pushed: str, content: bytes) -> None:
    server.repos[pushed].commit("main", server.head(pushed) | {provenance.FILE: content})
    with pytest.raises(CheckpointError, match=r"training\.json"):
        remote.load(pushed)


def test_folders_on_this_machine_go_before_the_hub(server: Hub, model: Detector, pushed: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub.save(changed(model), pushed)
    server.log.clear()
    assert values(remote.load(pushed)) == values(model)
    assert server.log == []
    with pytest.raises(InputError, match="is a folder on this machine; a revision is of a model on the Hub"):
        remote.load(pushed, revision="main")


def test_branches_tags_and_commits_are_revisions(server: Hub, model: Detector, pushed: str) -> None:
    repo = server.repos[pushed]
    first = values(model)
    repo.tags["v1.0"] = repo.branches["main"]
    push(changed(model), pushed, revision="feature/x")
    second = values(model)
    assert first != second
    assert values(remote.load(pushed)) == first
    assert values(remote.load(pushed, revision="v1.0")) == first
    assert values(remote.load(f"{pushed}@feature/x")) == second
    sha = repo.branches["feature/x"]
    assert values(remote.load(pushed, revision=sha)) == second
    server.log.clear()
    assert values(remote.load(pushed, revision=sha)) == second
    assert server.log == [], "a commit never changes"
    server.stop()
    assert values(remote.load(pushed, revision="v1.0")) == first
    assert values(remote.load(pushed, local_files_only=True)) == first


def test_a_revision_that_is_not_there(server: Hub, pushed: str) -> None:
    server.repos[pushed].tags["v1.0"] = server.repos[pushed].branches["main"]
    with pytest.raises(HubError, match=r"org/name has no revision 'v1.1'; did you mean 'v1.0'\?"):
        remote.load(pushed, revision="v1.1")
    with pytest.raises(InputError, match="names a revision already"):
        remote.load(f"{pushed}@v1.0", revision="main")
    with pytest.raises(InputError, match="a commit cannot be changed"):
        push(remote.load(pushed), pushed, revision="0" * 40)


def test_weights_from_the_hub_for_other_classes(pushed: str) -> None:
    again = create("plain_one_stage", class_names=("Car", "Dog"), weights=f"{pushed}@main")
    assert torch.equal(again.state_dict()["backbone.fine.weight"], remote.load(pushed).state_dict()["backbone.fine.weight"])


def test_a_private_repository_is_for_who_may_read_it(server: Hub, model: Detector) -> None:
    push(model, "org/secret", private=True)
    assert server.repos["org/secret"].private
    assert values(remote.load("org/secret")) == values(model)
    with pytest.raises(HubError, match=r"no repository 'org/secret' on http.* that this token may read"):
        remote.load("org/secret", token="hf_reader")
    with pytest.raises(HubError, match=r"no repository 'org/secret' on http.* that is public; for a private one, log in"):
        remote.load("org/secret", token=False)
    with pytest.raises(HubError, match="does not know this token"):
        remote.load("org/secret", token="hf_wrong")


def test_a_public_repository_is_not_taken_for_a_private_one(server: Hub, model: Detector, pushed: str) -> None:
    before = server.head(pushed)
    with pytest.raises(HubError, match="is public: nothing was uploaded"):
        push(changed(model), pushed, private=True)
    assert server.head(pushed) == before


@pytest.mark.parametrize(
    ("token", "message"), [("hf_wrong", "does not know this token"), ("hf_reader", "may not write"), (False, "log in")]
)
def test_who_may_not_push_is_told(server: Hub, model: Detector, token: str | bool, message: str) -> None:
    with pytest.raises(HubError, match=message):
        push(model, "org/new", token=token)
    assert not server.repos


@pytest.mark.parametrize("token", ["hf_secret\n", "hf_ secret", "hf_s\xe9cret", ""])
def test_what_is_no_token_is_told_and_not_shown(server: Hub, model: Detector, pushed: str, token: str) -> None:
    server.log.clear()
    for ask in (lambda: remote.load(pushed, token=token), lambda: push(model, pushed, token=token)):
        with pytest.raises(InputError, match="the token is empty, or holds") as caught:
            ask()
        assert "cret" not in str(caught.value)
    assert not server.log
    assert "hf_writer" not in repr(Access("hf_writer"))


def test_of_two_writers_the_second_is_told(server: Hub, model: Detector, pushed: str) -> None:
    repo = server.repos[pushed]
    theirs = dict(server.head(pushed)) | {"note.txt": b"mine"}
    server.before_commit = lambda: repo.commit("main", theirs) and None
    with pytest.raises(HubError, match="has changed on the Hub while this was being pushed; nothing was overwritten"):
        push(changed(model), pushed)
    assert server.head(pushed) == theirs
    push(model, pushed)
    assert server.head(pushed)["note.txt"] == b"mine"
    assert values(remote.load(pushed)) == values(model)


def test_pushing_the_same_again_makes_no_commit(server: Hub, model: Detector, pushed: str) -> None:
    before = list(server.repos[pushed].order)
    assert push(model, pushed).endswith(before[-1])
    assert server.repos[pushed].order == before


def test_what_is_no_model_of_the_zoo_is_not_pushed_over(server: Hub, model: Detector) -> None:
    server.new("org/bert", {"config.json": b'{"architectures": ["Bert"]}'})
    with pytest.raises(
        HubError, match=r"org/bert holds another kind of model, which stays: config.json has format version None"
    ):
        push(model, "org/bert")
    assert len(server.repos["org/bert"].order) == 1


def test_repositories_and_names_that_are_none(server: Hub, model: Detector, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub.save(model, "runs/first")
    with pytest.raises(
        HubError, match=r"no repository 'runs/frist' on .*nor is there a folder of that name; did you mean 'runs/first'\?"
    ):
        remote.load("runs/frist")
    with pytest.raises(CheckpointError, match="no such folder"):
        remote.load("runs/first/more")
    with pytest.raises(InputError, match="is a text of the form 'org/name', not None"):
        push(model, None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is no name of a repository, which is of the form 'org/name'"):
        push(model, "name of mine")
    with pytest.raises(InputError, match="is no name of a repository"):
        remote.load("a/b..c")
    with pytest.raises(InputError, match="push takes a detector or the folder of a saved one, not a Linear"):
        push(torch.nn.Linear(1, 1), "org/name")  # type: ignore[arg-type]
    assert not server.repos


def test_offline_nobody_is_asked(server: Hub, model: Detector, pushed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert values(remote.load(pushed)) == values(model)
    server.log.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert values(remote.load(pushed)) == values(model)
    with pytest.raises(HubError, match="is not in the cache"):
        remote.load("org/another")
    with pytest.raises(HubError, match="offline"):
        push(model, pushed)
    assert server.log == []


def test_no_network_is_told_at_once_with_the_cache(server: Hub, model: Detector, pushed: str, hub_environment) -> None:
    server.stop()
    cache = re.escape(hub_environment["HF_HUB_CACHE"])
    for message, call in (
        (rf"org/absent is not in the cache {cache}, and http.* cannot be reached", lambda: remote.load("org/absent")),
        (
            rf"is not in the cache {cache}, and only the cache was to be asked",
            lambda: remote.load("org/absent", local_files_only=True),
        ),
        ("cannot be reached", lambda: push(model, pushed)),
        ("cannot be reached", remote.search),
    ):
        start = time.monotonic()
        with pytest.raises(HubError, match=message):
            call()
        assert time.monotonic() - start < 2


def test_a_model_of_which_only_a_part_is_in_the_cache_is_not_loaded(server: Hub, pushed: str, hub_environment) -> None:
    folder = remote.fetch(pushed)
    (folder / hub.WEIGHTS).unlink()
    server.stop()
    with pytest.raises(HubError, match="is not in the cache"):
        remote.load(pushed)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is no model of the zoo: config.json and model.safetensors are missing"),
        ({"model.safetensors": b""}, "is no model of the zoo: config.json is missing"),
        ({"config.json": b"{}"}, "is no model of the zoo: model.safetensors is missing"),
        ({"pytorch_model.bin": b"x"}, r"its weights as a pickle alone \(pytorch_model.bin\), which could run code"),
        ({"config.json": b"{}", "a/best.pt": b"x"}, r"as a pickle alone \(a/best.pt\)"),
    ],
)
def test_what_is_no_model_of_the_zoo_is_not_downloaded(server: Hub, files: dict[str, bytes], message: str) -> None:
    server.new("org/other", files)
    server.log.clear()
    with pytest.raises(HubError, match=message):
        remote.load("org/other")
    assert not [line for line in server.log if "resolve" in line]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (b'"format": 1', b'"format": 2', "format version 2; this version of the zoo reads version 1"),
        (b'"recipe"', b'"author"', "author: Extra inputs are not permitted"),
        (b'"type": "blocks"', b'"type": "os.system"', "no backbone named 'os.system'"),
        (b'"type": "blocks"', b'"type": "../../x"', "no backbone named '../../x'"),
        (b"{", b"[", "not readable JSON"),
    ],
)
def test_a_config_that_is_not_right(server: Hub, pushed: str, before: bytes, after: bytes, message: str) -> None:
    files = server.head(pushed)
    assert before in files["config.json"]
    server.repos[pushed].commit("main", files | {"config.json": files["config.json"].replace(before, after)})
    server.log.clear()
    with pytest.raises(CheckpointError, match=re.escape(message)):
        remote.load(pushed)
    if "format" in message or "author" in message:
        assert not [line for line in server.log if "model.safetensors" in line], "first the small file"


def test_nothing_but_the_four_files_is_taken(server: Hub, pushed: str) -> None:
    more = {"evil.py": b"1/0", "pytorch_model.bin": b"x", "sub/config.json": b"{}", "../../evil": b"x"}
    server.repos[pushed].commit("main", server.head(pushed) | more)
    folder = remote.fetch(pushed)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == sorted(remote.FILES)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_was_changed_behind_the_clients_back(server: Hub, model: Detector, pushed: str, name: str) -> None:
    def flipped(body: bytes) -> bytes:
        return body[:-2] + bytes([body[-2] ^ 1]) + body[-1:] if name == hub.WEIGHTS else body.replace(b"Car", b"Cat")

    server.faults.append(Fault(f"^GET /org/name/resolve/.*/{name}", change=flipped))
    with pytest.raises(HubError, match=rf"{name} of org/name came damaged from http.*It was removed; try again"):
        remote.load(pushed)
    server.stop()
    with pytest.raises(HubError, match="is not in the cache"):
        remote.load(pushed)
    server.start()
    again = remote.load(pushed)
    assert (values(again), again.class_names) == (values(model), NAMES)


def test_what_is_pushed_while_another_downloads_is_checked_too(
    server: Hub, model: Detector, pushed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    genuine = huggingface_hub.snapshot_download

    def late(*args: object, **options: object) -> str:
        if server.faults and not options.get("local_files_only"):
            push(changed(model), pushed)
        return genuine(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", late)
    server.faults.append(Fault("^GET /org/name/resolve/.*/model.safetensors", change=lambda body: body[:-1] + b"x"))
    with pytest.raises(HubError, match=r"model\.safetensors of org/name came damaged"):
        remote.load(pushed)
    server.faults[0].times, server.faults[0].change = 1, lambda body: body
    assert values(remote.load(pushed)) == values(model)


@pytest.mark.parametrize(
    "fault", [Fault("", status=503), Fault("", 2, status=500), Fault("", status=429, headers={"Retry-After": "0"})]
)
@pytest.mark.parametrize(
    "pattern", ["POST .*/commit/", "POST .*/create", "PUT /objects", "GET .*/revision/|GET /api/models/org/name$"]
)
def test_a_busy_hub_is_asked_again(server: Hub, model: Detector, quick: None, fault: Fault, pattern: str) -> None:
    server.faults.append(Fault(pattern, fault.times, fault.status, fault.headers))
    push(model, "org/name")
    assert values(remote.load("org/name")) == values(model)
    assert server.faults[0].times == 0


def test_a_hub_that_says_when_to_ask_again_is_asked_then(server: Hub, model: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    server.faults.append(Fault("POST .*/commit/", status=429, headers={"Retry-After": "7"}))
    push(model, "org/name")
    assert slept == [7.0]
    server.faults.append(Fault("POST .*/create", status=503, headers={"Retry-After": "99999"}))
    push(changed(model), "org/name")
    assert max(slept) == 30.0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("pattern", ["PUT /objects", "POST .*/batch", "POST .*/commit/"])
def test_an_upload_that_breaks_off_is_taken_up_again(server: Hub, model: Detector, pattern: str) -> None:
    server.faults.append(Fault(pattern, cut=0))
    push(model, "org/name")
    assert server.faults[0].times == 0
    assert values(remote.load("org/name")) == values(model)


def test_big_files_go_up_in_parts_where_the_hub_wants_that(server: Hub, model: Detector) -> None:
    server.objects.part = 1000
    push(model, "org/name")
    size = len(server.head("org/name")[hub.WEIGHTS])
    numbers = [int(found[1]) for line in server.log if (found := re.fullmatch(r"PUT /objects/[0-9a-f]{64}/(\d+)", line))]
    assert numbers == list(range(1, -(-size // 1000) + 1))
    assert numbers[1:], "more than one part"
    assert values(remote.load("org/name")) == values(model)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client not wait before it tries again."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.mark.usefixtures("quick")
def test_a_hub_that_stays_busy(server: Hub, pushed: str, model: Detector) -> None:
    server.faults.append(Fault("/api/models", 100, status=503))
    with pytest.raises(HubError, match="is busy or out of order"):
        push(changed(model), pushed)
    with pytest.raises(HubError, match="is not in the cache"):
        remote.load(pushed)


@pytest.mark.usefixtures("quick")
def test_a_dropped_connection_is_taken_up_again(server: Hub) -> None:
    wide = create("plain_one_stage", class_names=NAMES, backbone={"width": 900}).eval()
    push(wide, "org/wide")
    assert len(server.head("org/wide")[hub.WEIGHTS]) > 25 * 2**20
    server.faults.append(Fault("^GET /org/wide/resolve/.*safetensors", cut=22 * 2**20))
    assert values(remote.load("org/wide")) == values(wide)
    assert sum(line.startswith("GET /org/wide/resolve") and line.endswith(hub.WEIGHTS) for line in server.log) == 2
    assert any(asked.startswith("bytes=") for asked in server.ranges), "from where it broke off"


def test_a_card_edited_on_the_hub_survives_the_next_push(server: Hub, model: Detector, pushed: str) -> None:
    text = server.head(pushed)[card.CARD].decode()
    edited = text.replace("## Use", "## What I think of it\n\nIt is good.\n\n## Use").replace(
        "---\n", "---\n# mine\nmood: [good]\n", 1
    )
    server.repos[pushed].commit("main", server.head(pushed) | {card.CARD: edited.encode()})
    push(changed(model), pushed, card={"license": "apache-2.0", "evaluation": {"AP": 0.25, "AP50": 0.5, "data": "toy"}})
    found = server.head(pushed)[card.CARD].decode()
    assert card.split(found)[1] == card.split(edited)[1]
    assert found.startswith("---\n# mine\nmood: [good]\n")
    data = yaml.safe_load(card.split(found)[0])
    assert (data["license"], data["mood"], data["library_name"]) == ("apache-2.0", ["good"], "zoo")
    (result,) = data["model-index"][0]["results"]
    assert result["metrics"][0] == {"type": "mAP", "name": "AP", "value": 0.25}


def test_cards_edited_in_both_places(server: Hub, model: Detector, pushed: str, tmp_path: Path) -> None:
    folder = hub.save(model, tmp_path / "here")
    readme = folder / card.CARD
    readme.write_text(readme.read_text() + "\nMy words.\n")
    push(folder, pushed)
    assert server.head(pushed)[card.CARD].decode().endswith("\nMy words.\n")
    push(folder, pushed)
    server.repos[pushed].commit("main", server.head(pushed) | {card.CARD: b"---\nlicense: mit\n---\nTheir words.\n"})
    with pytest.raises(InputError, match="were both edited, and differ"):
        push(folder, pushed)
    push(folder, pushed, readme="---\nlicense: mit\n---\nAll words.\n")
    assert server.head(pushed)[card.CARD].decode().endswith("---\nAll words.\n")
    push(model, pushed)
    assert server.head(pushed)[card.CARD].decode().endswith("---\nAll words.\n")


def test_searching_goes_through_all_pages(server: Hub, model: Detector, pushed: str) -> None:
    for number in range(4):
        server.new(f"org/more-{number}", dict(server.head(pushed)))
    server.new("org/other", {card.CARD: b"---\nlibrary_name: other\npipeline_tag: object-detection\n---\n"})
    server.new("org/hidden", dict(server.head(pushed)), private=True)
    assert sorted(found.id for found in remote.search()) == ["org/hidden", *[f"org/more-{k}" for k in range(4)], pushed]
    assert len(remote.search("MORE", author="org")) == 4
    assert len(remote.search(limit=3)) == 3
    assert remote.search("absent") == []
    server.stop()
    with pytest.raises(HubError, match="cannot be reached"):
        remote.search()


def test_of_many_the_most_downloaded_are_found(server: Hub, pushed: str) -> None:
    for number, downloads in enumerate((5, 0, 7, 6)):
        server.new(f"org/more-{number}", dict(server.head(pushed))).downloads = downloads
    assert [(found.id, found.downloads) for found in remote.search(limit=2)] == [("org/more-2", 7), ("org/more-3", 6)]


def test_the_config_alone_is_fetched_on_demand(server: Hub, pushed: str) -> None:
    server.log.clear()
    folder = remote.fetch_config(pushed)
    assert [path.name for path in folder.iterdir()] == [hub.CONFIG]
    assert {said.rpartition("/")[2] for said in server.log if "/resolve/" in said} == {hub.CONFIG}
    server.stop()
    assert remote.fetch_config(pushed) == folder
    with pytest.raises(HubError, match="org/name is not in the cache"):
        remote.load(pushed)


def test_a_config_that_comes_damaged_leaves_the_cache(server: Hub, pushed: str) -> None:
    server.faults.append(Fault(r"GET .*/config.json", change=lambda body: body.replace(b"{", b"[", 1)))
    with pytest.raises(HubError, match=r"config\.json of org/name came damaged"):
        remote.fetch_config(pushed)
    assert hub.read_config(remote.fetch_config(pushed)).class_names == NAMES


def test_a_config_that_is_no_description_is_not_downloaded(server: Hub, pushed: str, monkeypatch) -> None:
    monkeypatch.setattr(remote, "LARGEST_CONFIG", 100)
    server.log.clear()
    with pytest.raises(HubError, match=r"org/name is no model of the zoo: its config\.json is larger than"):
        remote.fetch_config(pushed)
    assert not [said for said in server.log if "/resolve/" in said]


@pytest.mark.parametrize("name", ["missing.pth", "org/missing.pt", "./a/b/missing.pkl"])
def test_a_file_that_is_not_there_is_not_asked_for_on_the_hub(server: Hub, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"missing.*: no such file"):
        remote.load(name)
    assert server.log == []


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"null", b"<html>Log in to this network</html>"])
def test_answers_of_what_is_no_hub(server: Hub, model: Detector, pushed: str, answer: bytes) -> None:
    server.faults = [Fault(r"GET /api/models", change=lambda _: answer, times=9)]
    for ask in (lambda: remote.load(pushed), lambda: push(model, pushed)):
        with pytest.raises(HubError, match=r"what was answered is of no Hub .* is the address right"):
            ask()


def test_what_the_hub_says_of_files_is_checked(server: Hub, pushed: str) -> None:
    def lie(body: bytes) -> bytes:
        return json.dumps(
            json.loads(body) | {"siblings": [{"rfilename": 5}, {"rfilename": "config.json", "size": "x"}]}
        ).encode()

    server.faults = [Fault(r"GET /api/models", change=lie)]
    with pytest.raises(HubError, match=r"is no model of the zoo: model\.safetensors is missing"):
        remote.load(pushed)


def test_a_tag_that_is_called_like_a_commit(server: Hub, pushed: str) -> None:
    repo = server.repos[pushed]
    repo.tags["a" * 40] = repo.branches["main"]
    with pytest.raises(HubError, match="names another commit for this one"):
        remote.load(pushed, "a" * 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"revision": 5}, "5 is no revision"),
        ({"revision": " "}, "' ' is no revision"),
        ({"token": ""}, "the token is empty"),
        ({"token": "hf_secret\nX: y"}, "the token is empty, or holds"),
        ({"token": 5}, "a token is a text, or a bool, not a int"),
        ({"cache_dir": 5}, "cache_dir=5 is no path"),
        ({"endpoint": "nonsense"}, "'nonsense' is no address of a Hub"),
        ({"endpoint": "ftp://x"}, "'ftp://x' is no address of a Hub"),
        ({"endpoint": ""}, "'' is no address of a Hub"),
    ],
)
def test_ways_to_ask_that_are_none(server: Hub, pushed: str, options: dict[str, Any], message: str) -> None:
    remote.load(pushed)  # what is in the cache does not hide the mistake
    with pytest.raises(InputError, match=message) as caught:
        remote.load(pushed, **options)
    assert "secret" not in str(caught.value)


def test_a_password_in_an_address_is_not_told(server: Hub) -> None:
    with pytest.raises(HubError, match=r"http://127\.0\.0\.1:9 cannot be reached") as caught:
        remote.load("org/absent", endpoint="http://me:hunter2@127.0.0.1:9")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("alone", {}, "'alone' is no name of a repository, which is of the form 'org/name': write whose it is"),
        (None, {}, "the name of a repository is a text"),
        ("org/x", {"revision": 5}, "revision is a text, not a int"),
        ("org/x", {"revision": ""}, "'' is no branch"),
        ("org/x", {"message": 5}, "message is a text"),
        ("org/x", {"readme": 5}, "readme is a text"),
        ("org/x", {"card": ["license"]}, "card: what is known is a dict such as"),
        ("org/x", {"card": {"evaluation": {"AP": True}}}, "card: evaluation must hold figures"),
    ],
)
def test_what_cannot_be_pushed_so(server: Hub, model: Detector, name: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        push(model, name, **options)
    assert not server.log


def test_weights_that_nobody_could_load_are_not_pushed(server: Hub, model: Detector) -> None:
    broken = create("plain_one_stage", num_classes=2)
    next(broken.parameters()).data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="holds values that are not finite"):
        push(broken, "org/broken")
    with pytest.raises(InputError, match="no weights: it is on the device 'meta'"):
        push(create("plain_one_stage", num_classes=2).to("meta"), "org/meta")
    assert not server.repos.get("org/broken")


def test_no_room_for_what_is_to_be_uploaded(server: Hub, model: Detector, pushed: str, monkeypatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("zoo_core.hub.save_file", full)
    before = server.repos[pushed].order[:]
    with pytest.raises(CheckpointError, match=r"cannot be written to .*No space left.*; nothing was pushed. TMPDIR"):
        push(model, pushed)
    assert server.repos[pushed].order == before


@pytest.mark.parametrize("readme", [b"\xff\xfe", b"---\nlicense: [\n---\n"])
def test_a_card_on_the_hub_that_cannot_be_read(server: Hub, model: Detector, pushed: str, readme: bytes) -> None:
    repo = server.repos[pushed]
    monkey = repo.tagged
    repo.tagged = lambda: {"cardData": {}, "tags": []}  # type: ignore[method-assign]
    repo.commit("main", server.head(pushed) | {"README.md": readme})
    with pytest.raises(HubError, match=r"the README\.md of org/name cannot be read.*mend it there, or give another") as caught:
        push(model, pushed)
    assert "/" not in str(caught.value).replace("org/name", "").replace("utf-8", "")
    push(model, pushed, readme="# Mine\n")
    repo.tagged = monkey  # type: ignore[method-assign]
    assert server.head(pushed)["README.md"].endswith(b"# Mine\n")
