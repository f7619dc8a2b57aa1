"""A detector onto the Hub: one commit of its files, on top of what was there."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from zoo_core import card as cards
from zoo_core import hub, provenance
from zoo_core.access import TIMEOUT, Access, asked, first_line, told
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
    _check_words(repo_id, revision, message, readme)
    cards.checked({} if card is None else card)
    model, local = _given(model)
    access = Access(token, endpoint)
    with told(repo_id, revision, access), tempfile.TemporaryDirectory(prefix="zoo-push-") as folder:
        api = access.api()
        info = _repository(api, repo_id, private, revision)
        _check_ours(info, Path(folder) / "there", access)
        old = readme if readme is not None else chosen(local, _card_there(info, Path(folder) / "there", access), repo_id)
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
        _check_finite(model)
        return model, ""
    if not isinstance(model, str | Path):
        raise InputError(f"push takes a detector or the folder of a saved one, not a {type(model).__name__}")
    folder = hub.locate(model)
    return hub.load(folder), cards.of(folder)


def _check_finite(model: Detector) -> None:
    """Raise `CheckpointError` if nobody could load these weights: they would take the place of others on the Hub."""
    for name, tensor in model.state_dict().items():
        if not tensor.is_meta:
            hub.sound(tensor, tensor, name, Path(model.recipe or "the detector"))


def _check_words(repo_id: str, revision: str | None, message: str | None, readme: str | None) -> None:
    """Raise `InputError` for arguments that cannot be meant."""
    for name, value in {"message": message, "readme": readme, "revision": revision}.items():
        if not isinstance(value, str | None):
            raise InputError(f"{name} is a text, not a {type(value).__name__}")
    if not isinstance(repo_id, str):
        raise InputError(f"the name of a repository is a text of the form 'org/name', not {repo_id!r}")
    if re.fullmatch(r"[\w.-]+", repo_id):
        raise InputError(f"'{repo_id}' is no name of a repository, which is of the form 'org/name': write whose it is, too")
    if revision is not None and (re.fullmatch(r"[0-9a-f]{40}", revision) or not revision.strip()):
        said = "a commit cannot be changed" if revision.strip() else f"{revision!r} is no branch"
        raise InputError(f"{said}; give the name of a branch as the revision")


def _files(model: Detector, text: str, folder: Path) -> list[Path]:
    """Write the files of a model and its card into a new folder, and return them."""
    try:
        folder.mkdir()
        hub.write(model, folder)
        (folder / cards.CARD).write_bytes(text.encode(errors="replace"))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"what is to be uploaded cannot be written to {folder.parent}: {error}; nothing was pushed. "
            "TMPDIR may name another place"
        ) from error
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


def _check_ours(info: ModelInfo, folder: Path, access: Access) -> None:
    """Raise `HubError` if a repository holds another kind of model."""
    if hub.CONFIG not in [file.rfilename for file in info.siblings or ()]:
        return
    path = _downloaded(info, hub.CONFIG, folder, access)
    try:
        hub.read_config(path.parent)
    except CheckpointError as error:
        why = str(error).replace(str(path), hub.CONFIG)
        raise HubError(f"{info.id} holds another kind of model, which stays: {why}") from error


def _card_there(info: ModelInfo, folder: Path, access: Access) -> str:
    """Return the card in a repository."""
    if cards.CARD not in [file.rfilename for file in info.siblings or ()]:
        return ""
    path = _downloaded(info, cards.CARD, folder, access)
    try:
        text = cards.of(path.parent)
        cards.parsed(cards.split(text)[0])
    except CheckpointError as error:
        why = first_line(error.__cause__ or error)
        raise HubError(
            f"the {cards.CARD} of {info.id} cannot be read, and would be lost ({why}): mend it there, "
            "or give another in its place (zoo-cli push --readme FILE, or readme= with its text)"
        ) from error
    return text


def _downloaded(info: ModelInfo, name: str, folder: Path, access: Access) -> Path:
    """Return a file of a repository, which is kept in `folder`."""
    from huggingface_hub import hf_hub_download

    where: dict[str, Any] = {"revision": info.sha, "cache_dir": folder, "token": access.token, "endpoint": access.endpoint}
    return Path(asked(lambda: hf_hub_download(info.id, name, **where)))


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
