"""How the Hub is asked: where it is, who asks, how long is waited, and what its refusals mean.

The client of the Hub is imported when it is needed. What arguments do not say it takes from its own environment variables:
``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME``, ``HF_HUB_OFFLINE``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo_core.errors import HubError, InputError, nearest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Answer = TypeVar("Answer")

BUSY = (408, 429, 500, 502, 503, 504)
PAUSES = (1.0, 3.0)
"""Seconds before asking a busy Hub again."""
LONGEST_PAUSE = 30.0
TIMEOUT = 10.0
"""Seconds in which a Hub that can be reached begins to answer."""
LOG_IN = "for a private one, log in ('hf auth login'), or give token= or HF_TOKEN"


@dataclass(frozen=True)
class Access:
    """How the Hub is asked.

    Attributes:
        token: who asks; by default whoever is logged in. False for nobody.
        endpoint: another Hub.
        cache_dir: where downloaded files are kept; by default where all programs that use the Hub keep them.
        local_files_only: take what is in the cache and ask nobody.
    """

    token: str | bool | None = field(default=None, repr=False)  # it is nobody else's to read
    endpoint: str | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.token, str) and not re.fullmatch(r"[!-~]+", self.token):  # it is not shown: it is a secret
            raise InputError("the token is empty, or holds spaces or letters that no token has; was it copied whole?")
        if not isinstance(self.token, str | bool | None):
            raise InputError(f"a token is a text, or a bool, not a {type(self.token).__name__}")
        if not isinstance(self.cache_dir, str | Path | None) or "\0" in str(self.cache_dir):
            raise InputError(f"cache_dir={self.cache_dir!r} is no path of a folder")

    @property
    def address(self) -> str:
        """Where the Hub is asked.

        Raises:
            InputError: that is no address.
        """
        from huggingface_hub import constants

        found = constants.ENDPOINT if self.endpoint is None else self.endpoint
        if not re.match(r"https?://[^/]", str(found)):
            raise InputError(f"{found!r} is no address of a Hub (HF_ENDPOINT, endpoint=): it begins with https:// or http://")
        return found

    @property
    def url(self) -> str:
        """Where the Hub is, as a message names it: without the password that an address may have."""
        from huggingface_hub import constants

        return re.sub(r"//[^/@]*@", "//", str(self.endpoint or constants.ENDPOINT))

    @property
    def cache(self) -> Path:
        """Where files are kept."""
        from huggingface_hub import constants

        return Path(self.cache_dir or constants.HF_HUB_CACHE).expanduser()

    def api(self) -> HfApi:
        """Return the client."""
        from huggingface_hub import HfApi

        address = self.address
        return HfApi(endpoint=None if self.endpoint is None else address, token=self.token, library_name="zoo")


def unreachable(error: BaseException) -> bool:
    """Say whether there is no way to the Hub, or none is wanted. Of the client's versions, each has its own transport."""
    transport = type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore")
    return transport or isinstance(error, ConnectionError | TimeoutError)


def asked(call: Callable[[], Answer], pauses: Sequence[float] | None = None) -> Answer:
    """Return what the Hub answers. One that is busy or breaks off is asked again after each of the `pauses` (`PAUSES`).

    Raises:
        HubError: an answer that the client cannot read, such as the page on which a network asks who one is.
    """
    pauses = PAUSES if pauses is None else pauses
    try:
        return call()
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        raise HubError(f"what was answered is of no Hub ({why}); is the address right (HF_ENDPOINT, endpoint=)?") from error
    except Exception as error:
        reason = _refusal(error) or error
        if not pauses or not _passing(reason):
            raise
        wished = reason.response.headers.get("Retry-After", "") if hasattr(reason, "response") else ""
    time.sleep(min(max(pauses[0], float(wished) if wished.isdecimal() else 0.0), LONGEST_PAUSE))
    return asked(call, pauses[1:])


def _passing(error: Any) -> bool:
    """Say whether an error may be none the next time. An address where nobody answers is told at once."""
    if _refusal(error):
        return error.response.status_code in BUSY
    return type(error).__name__ in ("RemoteProtocolError", "ReadError", "WriteError") and unreachable(error)


def _refusal(error: BaseException | None) -> Any:
    """Return the answer of the Hub that is behind an error, if one is."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error
    return _refusal(error.__cause__) if isinstance(error, RuntimeError) else None  # "while uploading"


@contextmanager
def told(repo_id: str, revision: str | None, access: Access) -> Iterator[None]:
    """Turn what the client raises into a `HubError` that says what to do."""
    from huggingface_hub import errors, get_token

    name, token = named(repo_id, revision), access.token or (get_token() if access.token is None else None)
    try:
        yield
    except errors.HFValidationError as error:
        raise InputError(f"'{repo_id}' is no name of a repository, which is of the form 'org/name': {error}") from error
    except errors.GatedRepoError as error:
        raise HubError(f"{repo_id}: its owner lets in who asks for it; ask at {access.url}/{repo_id}") from error
    except errors.RepositoryNotFoundError as error:
        right = f"that this token may read; {LOG_IN}" if token else f"that is public; {LOG_IN}"
        hint = nearest_folder(repo_id)
        raise HubError(
            f"no repository '{repo_id}' on {access.url} {right}; nor is there a folder of that name{hint}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{repo_id} has no revision '{revision}'{_nearest_revision(repo_id, revision, access)}") from error
    except errors.HfHubHTTPError as error:
        raise HubError(_refused(name, error, access)) from error
    except (OSError, ValueError, RuntimeError) as error:
        if refusal := _refusal(error):
            raise HubError(_refused(name, refusal, access)) from error
        why = first_line(error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error)
        raise HubError(f"{name}: {why} (Hub: {access.url}, cache: {access.cache})") from error
    except Exception as error:
        if not unreachable(error):
            raise
        raise HubError(f"{name}: {access.url} cannot be reached, or broke off ({first_line(error)}); try again") from error


def _refused(name: str, error: Any, access: Access) -> str:
    """Return what a refusal means."""
    status = error.response.status_code
    if status == 412:
        return (
            f"{name} has changed on the Hub while this was being pushed; nothing was overwritten. Push again to go on from it"
        )
    if status == 401:
        return f"{access.url} does not know this token, or was given none: log in ('hf auth login'), or give token= or HF_TOKEN"
    if status == 403:
        return f"this token may not write to {name}: {first_line(error.server_message or error)}"
    if status in BUSY:
        return f"{access.url} is busy or out of order (status {status}); try again later"
    return f"{name}: {first_line(error.server_message or error)} (status {status})"


def first_line(error: object) -> str:
    """Return the first line of an error's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def named(repo_id: str, revision: str | None) -> str:
    """Return a repository as a message names it."""
    return f"{repo_id}@{revision}" if revision else repo_id


def nearest_folder(name: str) -> str:
    """Return a hint at the folder on this machine whose name is most like `name`; nothing if none is."""
    parent = Path(name).parent
    with suppress(OSError):
        return nearest(name, [path.as_posix() for path in islice(parent.iterdir(), 1000) if path.is_dir()])
    return ""


def _nearest_revision(repo_id: str, revision: str | None, access: Access) -> str:
    with suppress(Exception):  # a hint, no more
        refs = access.api().list_repo_refs(repo_id)
        return nearest(str(revision), [ref.name for ref in (*refs.branches, *refs.tags)])
    return ""
