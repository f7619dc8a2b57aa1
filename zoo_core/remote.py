"""Saved detectors on the Hub: a repository there is the folder that `hub` writes, file for file.

Nothing of a repository is run: four files are taken by their names, and none of them is a pickle.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zoo_core import card, hub, provenance
from zoo_core.access import BUSY, TIMEOUT, Access, asked, named, nearest_folder, told, unreachable
from zoo_core.contributions import NAME_ON_HUB
from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, HubError, InputError

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

log = logging.getLogger(__name__)

FILES = (hub.CONFIG, hub.WEIGHTS, card.CARD, provenance.FILE)
"""All that is ever taken from a repository."""
LARGEST_CONFIG = 2**24
"""Bytes; ours have some thousands."""
SHA = re.compile(r"[0-9a-f]{40}")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def load(
    name: str | Path,
    revision: str | None = None,
    *,
    token: str | bool | None = None,
    endpoint: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    **overrides: Any,
) -> Detector:
    """Return the detector that is saved in a folder or on the Hub, in evaluation mode.

    Args:
        name: a folder that `zoo.save` wrote, or the output of a training run: then its latest checkpoint. Where there is no
            such folder, ``"org/name"`` or ``"org/name@revision"`` on the Hub.
        revision: of a model on the Hub: a branch, a tag or a commit.
        token: who asks the Hub; by default whoever is logged in.
        endpoint: another Hub.
        cache_dir: where downloaded files are kept; by default where all programs that use the Hub keep them.
        local_files_only: take what is in the cache and ask nobody.
        **overrides: options that it shall have otherwise, as `zoo.create` takes them: ``preprocess={"long_side": 1280}``.
            The weights must still fit.

    Raises:
        HubError: no such repository or revision, no right to it, no network and nothing in the cache.
        CheckpointError: no such folder; files missing, damaged or of another format version; weights that do not fit.
        UnknownNameError: a part that no installed plugin offers; the distribution that did is named.
        SpecError: overrides that do not fit, all of them.
    """
    return hub.load(located(name, revision, Access(token, endpoint, cache_dir, local_files_only)), **overrides)


def fetch_config(name: str | Path, revision: str | None = None, access: Access | None = None) -> Path:
    """Return a folder with the ``config.json`` of a model, for who wants to know what it is: nothing else is downloaded.

    Raises what `load` raises for a name.
    """
    return located(name, revision, access, (hub.CONFIG,))


def located(name: str | Path, revision: str | None = None, access: Access | None = None, files: Sequence[str] = FILES) -> Path:
    """Return the folder of a model: one on this machine goes before one of that name on the Hub, whose `files` are fetched."""
    found = NAME_ON_HUB.fullmatch(str(name))
    try:
        folder = hub.locate(name)
    except CheckpointError:
        there = os.path.exists(str(name))  # which takes any text
        if not there and not (found and found[2]) and PurePosixPath(str(name)).suffix in PICKLES:
            raise CheckpointError(f"{name}: no such file") from None
        if found is None or there:
            raise
    else:
        if revision is not None:
            raise InputError(f"{folder} is a folder on this machine; a revision is of a model on the Hub")
        return folder
    if found[2] and revision is not None:
        raise InputError(f"{name} names a revision already; give one")
    return _fetch(found[1], found[2] if revision is None else revision, access or Access(), files)


def fetch(
    repo_id: str,
    revision: str | None = None,
    *,
    token: str | bool | None = None,
    endpoint: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """Download a model from the Hub, unless it is in the cache, and return its folder. See `load`."""
    return _fetch(repo_id, revision, Access(token, endpoint, cache_dir, local_files_only))


def _fetch(repo_id: str, revision: str | None, access: Access, files: Sequence[str] = FILES) -> Path:
    if revision is not None and (not isinstance(revision, str) or not revision.strip()):
        raise InputError(f"{revision!r} is no revision; give the name of a branch, a tag or a commit")
    if revision and SHA.fullmatch(revision) and (folder := _cached(repo_id, revision, access, files)):
        return folder
    info = None if access.local_files_only else _info(repo_id, revision, access)
    if info is None:
        folder = _cached(repo_id, revision, access, files)
        if folder is None:
            why = "only the cache was to be asked" if access.local_files_only else f"{access.url} cannot be reached"
            raise HubError(f"{named(repo_id, revision)} is not in the cache {access.cache}, and {why}{nearest_folder(repo_id)}")
        if not access.local_files_only:
            log.warning("%s cannot be reached; %s is taken from the cache", access.url, repo_id)
        return folder
    return _downloaded(repo_id, revision, info, access, files)


def _downloaded(repo_id: str, revision: str | None, info: ModelInfo, access: Access, files: Sequence[str]) -> Path:
    """Download those of `files` that are not in the cache, and check them against what the Hub says of them."""
    from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache

    _check_files(repo_id, info)
    sha = str(info.sha)
    if revision and SHA.fullmatch(revision) and revision != sha:
        raise HubError(f"{named(repo_id, revision)}: the Hub names another commit for this one: {sha}")
    where: dict[str, Any] = {"cache_dir": access.cache, "token": access.token, "endpoint": access.endpoint}
    new = [name for name in files if not try_to_load_from_cache(repo_id, name, access.cache, revision=sha)]
    with told(repo_id, revision, access):
        config = Path(asked(lambda: hf_hub_download(repo_id, hub.CONFIG, revision=sha, **where)))
        _verify(config.parent, info, [name for name in new if name == hub.CONFIG], access)
        hub.read_config(config.parent)  # before all that is big
        folder = Path(asked(lambda: snapshot_download(repo_id, revision=revision, allow_patterns=list(files), **where)))
        if folder.name == sha:
            _verify(folder, info, [name for name in new if name != hub.CONFIG], access)
        else:  # somebody has pushed meanwhile, and what came is theirs
            api = access.api()
            theirs = asked(lambda: api.model_info(repo_id, revision=folder.name, files_metadata=True, timeout=TIMEOUT))
            _verify(folder, theirs, [name for name in files if (folder / name).is_file()], access)
    return folder


def _info(repo_id: str, revision: str | None, access: Access) -> ModelInfo | None:
    """Return what the Hub says of a repository; None if it cannot be reached."""
    from huggingface_hub.errors import HfHubHTTPError

    with told(repo_id, revision, access):
        try:
            api = access.api()
            return asked(lambda: api.model_info(repo_id, revision=revision, files_metadata=True, timeout=TIMEOUT))
        except HfHubHTTPError as error:
            if error.response.status_code not in BUSY:
                raise
        except Exception as error:
            if not unreachable(error):
                raise
    return None


def _cached(repo_id: str, revision: str | None, access: Access, files: Sequence[str]) -> Path | None:
    """Return the folder of a model in the cache, if those of `files` that it cannot be without are there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    due = [name for name in (hub.CONFIG, hub.WEIGHTS) if name in files]
    where: dict[str, Any] = {"cache_dir": access.cache, "local_files_only": True}
    with told(repo_id, revision, access):
        try:
            folder = Path(snapshot_download(repo_id, revision=revision, allow_patterns=due, **where))
        except LocalEntryNotFoundError:
            return None
    return folder if all((folder / name).is_file() for name in due) else None


def _check_files(repo_id: str, info: ModelInfo) -> None:
    """Raise `HubError` if a repository is none that the zoo opens."""
    names = [str(file.rfilename) for file in info.siblings or ()]
    missing = [name for name in (hub.CONFIG, hub.WEIGHTS) if name not in names]
    pickled = [name for name in names if PurePosixPath(name).suffix in PICKLES]
    if pickled and hub.WEIGHTS in missing:
        raise HubError(
            f"{repo_id} has its weights as a pickle alone ({ascii(pickled[0])[1:-1]}), which could run code: it is not opened. "
            "If it is of a project that 'zoo-cli import' knows, download that file and import it"
        )
    if missing:
        raise HubError(f"{repo_id} is no model of the zoo: {' and '.join(missing)} {'are' if missing[1:] else 'is'} missing")
    if any(file.rfilename == hub.CONFIG and _size(file) > LARGEST_CONFIG for file in info.siblings or ()):
        raise HubError(f"{repo_id} is no model of the zoo: its {hub.CONFIG} is larger than {LARGEST_CONFIG // 2**20} MB")
    if not SHA.fullmatch(str(info.sha)):
        raise HubError(f"{repo_id}: the Hub names a commit that is none: {str(info.sha)[:60]!r}")


def _size(file: Any) -> int:
    return file.size if isinstance(file.size, int) else 0


def _verify(folder: Path, info: ModelInfo, new: Sequence[str], access: Access) -> None:
    """Raise `HubError` if a file that was downloaded is not the one that the Hub has; then it leaves the cache."""
    for file in info.siblings or ():
        path = folder / str(file.rfilename)
        if file.rfilename not in new or not (file.lfs or file.blob_id):
            continue
        digest = hashlib.sha256() if file.lfs else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        found, due = provenance.hashed(path, digest), file.lfs.sha256 if file.lfs else file.blob_id
        if found != due:
            for name in (path.resolve(), path):
                name.unlink(missing_ok=True)
            what = f"its {digest.name} is {found}, and should be {due}"
            raise HubError(f"{file.rfilename} of {info.id} came damaged from {access.url}: {what}. It was removed; try again")


def search(text: str = "", *, author: str | None = None, limit: int = 20, access: Access | None = None) -> list[ModelInfo]:
    """Return the models of this library on the Hub whose name has `text` in it, the most downloaded first."""
    from huggingface_hub import get_session

    access = access or Access()

    def listed() -> list[ModelInfo]:
        found = access.api().list_models(
            filter=[card.LIBRARY], pipeline_tag=card.TASK, search=text or None, author=author, sort="downloads", limit=limit
        )
        return sorted(found, key=lambda model: -(model.downloads or 0))  # not every Hub has sorted them

    with told(text or "the Hub", None, access):
        get_session().get(
            f"{access.address}/api/models", params={"limit": 1}, timeout=TIMEOUT
        )  # it fails at once, a list does not
        return asked(listed)
