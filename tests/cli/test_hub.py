"""zoo-cli push, pull and search, over loopback with the genuine client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hub.server import Hub
from zoo_core import hub
from zoo_core.create import create

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the client's upload


@pytest.fixture
def folder(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return hub.save(create("yolov5n", class_names=("Car", "Pedestrian")), "runs/first")


def test_a_model_goes_to_the_hub_and_comes_back(cli, server: Hub, folder: Path, tmp_path: Path) -> None:
    figures = {"model": "x", "data": "toy", "split": "val", "AP": 0.25, "APs": None, "per_class": []}
    Path("figures.json").write_text(json.dumps(figures))
    options = (
        "--private",
        "--license",
        "mit",
        "--base-model",
        "org/base",
        "--evaluation",
        "figures.json",
        "--message",
        "Hello",
    )
    outcome = cli("push", folder, "org/first", *options)
    assert outcome.status == 0, outcome.err
    sha = server.repos["org/first"].branches["main"]
    first, *rest = outcome.out.splitlines()
    assert first == f"runs/first is now {server.url}/org/first/commit/{sha}"
    assert rest == ["next:", "  zoo-cli pull org/first"]
    data = server.repos["org/first"].tagged()["cardData"]
    assert (data["license"], data["base_model"]) == ("mit", "org/base")
    assert data["model-index"][0]["name"] == "first"
    assert server.repos["org/first"].private

    outcome = cli("pull", "org/first", "--out", "models/first")
    assert outcome.out.splitlines() == [
        "org/first is in models/first",
        f"  commit   {sha}",
        "  network  yolov5n",
        "  classes  2: Car, Pedestrian",
        "next:",
        "  zoo-cli predict models/first PICTURE.jpg",
    ]
    assert (Path("models/first") / hub.WEIGHTS).read_bytes() == (folder / hub.WEIGHTS).read_bytes()
    assert cli("pull", "org/first", "--out", "models/first").err.startswith(
        "zoo-cli: error: --out models/first is there already"
    )
    found = json.loads(cli("pull", "org/first@main", "--json").out)
    assert (found["commit"], Path(found["model"]).name, found["recipe"]) == (sha, sha, "yolov5n")


def test_names_of_strangers_do_not_reach_the_terminal_as_they_are(cli, server: Hub, folder: Path) -> None:
    cli("push", folder, "org/first")
    files = server.head("org/first")
    config = files["config.json"].replace(b'"Car"', b'"\\u001b[2J"')
    readme = files["README.md"].replace(b"- zoo\n", b'- zoo\n- "\\e[2J"\n')
    server.repos["org/first"].commit("main", files | {"config.json": config, "README.md": readme})
    pulled, found = cli("pull", "org/first"), cli("search")
    assert "classes  2: ?[2J, Pedestrian\n" in pulled.out
    assert "?[2J" in found.out
    assert "\x1b" not in pulled.out + found.out


def test_predict_takes_a_model_of_the_hub(cli, server: Hub, folder: Path) -> None:
    cli("push", folder, "org/first")
    outcome = cli("predict", "org/first@main", "--data", "toy", "--limit", "1", "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out) == []


def test_search(cli, server: Hub, folder: Path) -> None:
    outcome = cli("search")
    assert (outcome.status, outcome.out) == (1, "no model of this library is found there\n")
    cli("push", folder, "org/first")
    outcome = cli("search", "fir")
    assert outcome.out.splitlines() == ["NAME       DOWNLOADS  CHANGED     TAGS", "org/first  0          2026-01-31  yolov5n"]
    (found,) = json.loads(cli("search", "--author", "org", "--json").out)
    assert found == {"name": "org/first", "downloads": 0, "changed": "2026-01-31", "private": False, "tags": ["yolov5n"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("push", "runs/frist", "org/x"), "runs/frist: no such folder"),
        (("push", "runs/first", "x y"), "'x y' is no name of a repository, which is of the form 'org/name'"),
        (("push", "runs/first", "org/x", "--evaluation", "no.json"), "--evaluation no.json cannot be read: No such file"),
        (
            ("push", "runs/first", "org/x", "--evaluation", "runs/first/README.md"),
            "--evaluation runs/first/README.md is not what",
        ),
        (
            ("push", "runs/first", "org/x", "--readme", "runs/first/model.safetensors"),
            "--readme runs/first/model.safetensors is not a",
        ),
        (("push", "runs/first", "org/x", "--private", "--public"), "argument --public: not allowed with argument --private"),
        (("pull", "org/absent"), "no repository 'org/absent' on http://127.0.0.1"),
        (("pull", "org/x@main", "--revision", "main"), "org/x@main names a revision already; leave out --revision"),
        (("pull", "org/x", "--endpoint", "http://127.0.0.1:9"), "org/x is not in the cache"),
        (("search", "--endpoint", "http://127.0.0.1:9"), "the Hub: http://127.0.0.1:9 cannot be reached"),
    ],
)
def test_what_is_refused(cli, server: Hub, folder: Path, arguments: tuple[str, ...], message: str) -> None:
    outcome = cli(*arguments)
    assert outcome.status == 2
    assert outcome.err.startswith(f"zoo-cli: error: {message}")
    assert not server.repos


def test_names_that_a_shell_would_split_are_quoted(cli, server: Hub, folder: Path) -> None:
    cli("push", folder, "org/first")
    assert cli("pull", "org/first", "--out", "my models/é").out.endswith("  zoo-cli predict 'my models/é' PICTURE.jpg\n")
    assert cli("pull", "org/first@").err.startswith("zoo-cli: error: org/first@ names no revision after the @")
