"""A detector onto the Hub: one commit of its files, on top of what was there."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core import card as cards
from zoo_core import hub, provenance
from zoo_core.access import TIMEOUT, Access, asked, told
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, HubError, InputError
from zoo_core.origins import origins

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo


def push(
    model: Detector | str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
    card: Mapping[str, Any] | None = None,
    readme: str | None = None,
) -> str:
    """Put a detector on the Hub, and return the address of the commit.

    A card that was edited there keeps its text; of its metadata, only our keys are brought up to date.

    Args:
        model: a detector, or the folder of a saved one.
        repo_id: ``"org/name"``; made when it is not there.
        private: whether a new repository is; by default what its owner has set.
        revision: the branch, ``main`` by default; made when it is not there.
        message: of the commit.
        token: who pushes; by default whoever is logged in.
        endpoint: another Hub.
        card: what is known of the model beside what it says itself, such as ``{"license": "apache-2.0"}``: any of
            `zoo_core.card.FACTS`; ``evaluation`` takes what ``zoo-cli eval --json`` prints.
        readme: the text of the card, in place of what is in the folder and on the Hub.

    Raises:
        HubError: no right to write, no network, another kind of model there, or somebody else pushed at the same time.
        InputError: no name of a repository; facts that are none; two cards that users wrote, and that differ.
        CheckpointError: the folder holds no sound model.

    Example:
        >>> zoo.push(model, "org/traffic", private=True, card={"license": "apache-2.0"})
    """
    if not isinstance(repo_id, str):
        raise InputError(f"the name of a repository is a text of the form 'org/name', not {repo_id!r}")
    cards.checked({} if card is None else card)
    model, local = _given(model)
    if revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision):
        raise InputError("a commit cannot be changed; give the name of a branch as the revision")
    access = Access(token, endpoint)
    with told(repo_id, revision, access), tempfile.TemporaryDirectory(prefix="zoo-push-") as folder:
        api = access.api()
        info = _repository(api, repo_id, private, revision)
        there = _card_there(info, Path(folder) / "there", access)
        old = chosen(local, there, repo_id) if readme is None else readme
        text = cards.written(model, origins(model.spec), repo_id, old, card)
        files = _files(model, text, Path(folder) / "model")
        commit = asked(
            lambda: api.create_commit(
                repo_id,
                _changes(files, info),
                commit_message=message or "Push a model",
                revision=revision,
                parent_commit=info.sha,
            )
        )
        return str(commit.commit_url)


def _given(model: Detector | str | Path) -> tuple[Detector, str]:
    """Return a detector, and of a folder its card."""
    if isinstance(model, Detector):
        return model, ""
    if not isinstance(model, str | Path):
        raise InputError(f"push takes a detector or the folder of a saved one, not a {type(model).__name__}")
    folder = hub.locate(model)
    return hub.load(folder), cards.of(folder)


def _files(model: Detector, text: str, folder: Path) -> list[Path]:
    """Write the files of a model and its card into a new folder, and return them."""
    folder.mkdir()
    hub.write(model, folder)
    (folder / cards.CARD).write_bytes(text.encode())
    return sorted(folder.iterdir())


def _changes(files: list[Path], info: ModelInfo) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Return what a commit of these files does: nothing that is told of the weights that were there stays."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    outdated = {provenance.FILE} & {file.rfilename for file in info.siblings or ()} - {path.name for path in files}
    return [*(CommitOperationAdd(path.name, path) for path in files), *map(CommitOperationDelete, outdated)]


def _repository(api: HfApi, repo_id: str, private: bool | None, revision: str | None) -> ModelInfo:
    """Make the repository and the branch if they are not there, and return what is in it now."""
    asked(lambda: api.create_repo(repo_id, private=private, exist_ok=True))
    if revision is not None:
        asked(lambda: api.create_branch(repo_id, branch=revision, exist_ok=True))
    info = asked(lambda: api.model_info(repo_id, revision=revision, timeout=TIMEOUT))
    if private is not None and bool(info.private) != private:
        now = "private" if info.private else "public: nothing was uploaded"
        raise HubError(
            f"{repo_id} is there already, and is {now}; change that in its settings on the Hub, or do not ask for it"
        )
    return info


def _card_there(info: ModelInfo, folder: Path, access: Access) -> str:
    """Return the card in a repository; raise if it holds another kind of model."""
    from huggingface_hub import hf_hub_download

    names = [file.rfilename for file in info.siblings or ()]
    where: dict[str, Any] = {"revision": info.sha, "cache_dir": folder, "token": access.token, "endpoint": access.endpoint}
    if hub.CONFIG in names:
        path = Path(hf_hub_download(info.id, hub.CONFIG, **where))
        try:
            hub.read_config(path.parent)
        except CheckpointError as error:
            why = str(error).replace(str(path), hub.CONFIG)
            raise HubError(f"{info.id} holds another kind of model, which stays: {why}") from error
    if cards.CARD not in names:
        return ""
    return cards.of(Path(hf_hub_download(info.id, cards.CARD, **where)).parent)


def chosen(local: str, there: str, repo_id: str) -> str:
    """Return the card to go on from, of the one in the folder and the one on the Hub: the text that a user wrote.

    The metadata are those on the Hub, and what the folder has beside.
    """
    (head_here, here), (head_there, body) = cards.split(local), cards.split(there)
    if cards.handwritten(local):
        if cards.handwritten(there) and here.split() != body.split():
            raise InputError(
                f"the model card in the folder and the one of {repo_id} were both edited, and differ: put what shall stay "
                "into one file, and give it (zoo-cli push --readme FILE, or readme= with its text)"
            )
        body = here
    known = cards.parsed(head_there)
    more = {key: value for key, value in cards.parsed(head_here).items() if key not in known}
    return f"---\n{cards.updated(head_there, more)}---\n{body}"
