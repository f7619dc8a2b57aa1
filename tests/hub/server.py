"""A Hub on loopback: what the genuine `huggingface_hub` client asks of one when it pushes and pulls models.

It keeps everything in memory. `Hub.faults` makes it misbehave on demand, and `Hub.log` holds what was asked of it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.hub.objects import Objects
from tests.hub.repository import Files, RefusedError, Repo, git_oid, is_lfs, oid, row

DATE = "2026-01-31T12:00:00.000Z"


@dataclass
class Fault:
    """What goes wrong, how often, with requests whose method and path match `pattern`.

    Either another `status` is answered, with `headers`; or the body is `change`d; or it is `cut` after so many bytes.
    """

    pattern: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    change: Callable[[bytes], bytes] | None = None
    cut: int | None = None


class Hub:
    """The state behind the server. `tokens` says who may do what: token to (user, may write)."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects = Objects()
        self.tokens: dict[str, tuple[str, bool]] = {"hf_writer": ("org", True), "hf_reader": ("reader", False)}
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.ranges: list[str] = []
        self.lock = threading.RLock()
        self.before_commit: Callable[[], None] | None = None
        self.page = 2
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    def start(self) -> Hub:
        """Listen, on the same port as before if there was one."""
        hub = self

        class Bound(Handler):
            state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Bound)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the port, and the connections that are open."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def new(self, repo_id: str, files: Files | None = None, private: bool = False) -> Repo:
        """Make a repository with a first commit."""
        repo = self.repos[repo_id] = Repo(private)
        repo.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"} | (files or {}))
        return repo

    def head(self, repo_id: str, revision: str = "main") -> Files:
        """Return the files of a revision."""
        repo = self.repos[repo_id]
        return repo.commits[repo.sha(revision) or ""]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: Hub

    def log_message(self, *args: object) -> None:
        """Keep the terminal quiet."""

    def setup(self) -> None:
        """Give up a connection on which nothing comes."""
        super().setup()
        self.connection.settimeout(5)

    def do_GET(self) -> None:
        """Answer any request."""
        url = urlsplit(self.path)
        self.parts = [unquote(part) for part in url.path.strip("/").split("/")]
        self.query = parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = f"{self.command} {unquote(url.path)}"
        hub = self.state
        with hub.lock:
            hub.log.append(said)
            hub.ranges += filter(None, [self.headers.get("Range")])
            self.fault = next((fault for fault in hub.faults if fault.times and re.search(fault.pattern, said)), None)
            if self.fault:
                self.fault.times -= 1
        try:
            if hub._server is None:
                self.close_connection = True
                return
            if self.fault and self.fault.status:
                raise RefusedError(self.fault.status, "", "out of order", **self.fault.headers)
            with hub.lock:
                answer = self._route()
            self._send(200, *(answer if isinstance(answer, tuple) else (json.dumps(answer).encode(), {})))
        except RefusedError as error:
            said_why = {"X-Error-Code": error.code, "X-Error-Message": error.text} if error.code else {}
            body = json.dumps({"error": error.text, "url": error.more.get("url", "")}).encode()
            self._send(error.status, body, said_why | {k: v for k, v in error.more.items() if k != "url"})

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        fault = self.fault
        if fault and fault.change and status == 200:
            body = fault.change(body)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if "ETag" in headers else None
        if asked and self.command == "GET":
            first, last = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
            headers |= {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
            status, body = 206, body[first : last + 1]
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.cut is not None:
            self.wfile.write(body[: fault.cut])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    def _user(self) -> tuple[str, bool] | None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if token not in self.state.tokens:
            raise RefusedError(401, "", "Invalid username or password.")
        return self.state.tokens[token]

    def _writer(self) -> None:
        user = self._user()
        if user is None:
            raise RefusedError(401, "", "Invalid username or password.")
        if not user[1]:
            raise RefusedError(403, "", "this token may not write")

    def _repo(self, repo_id: str) -> Repo:
        repo = self.state.repos.get(repo_id)
        user = self._user()
        if repo is None or (repo.private and (user is None or not user[1])):
            raise RefusedError(404 if user else 401, "RepoNotFound", "Repository not found")
        return repo

    def _json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body or b"{}")
        return found

    def _route(self) -> Any:  # noqa: C901
        parts = self.parts
        if parts[:1] == ["objects"]:
            return self._object(parts[1], parts[2:])
        if parts[:1] != ["api"]:
            if parts[2:3] == ["resolve"]:
                return self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            if parts[2:] == ["info", "lfs", "objects", "batch"]:
                self._writer()
                wanted = self.state.objects.wanted
                return {"transfer": "basic", "objects": [wanted(one, self.state.url) for one in self._json()["objects"]]}
            raise RefusedError(404)
        match parts[1:]:
            case ["whoami-v2"]:
                if self._user() is None:
                    raise RefusedError(401)
                return {"type": "user", "name": (self._user() or ("",))[0], "orgs": [], "auth": {}}
            case ["agent-harnesses"]:
                return {"standardEnvVars": [], "harnesses": {}}
            case ["validate-yaml"]:
                return {"errors": [], "warnings": []}
            case ["repos", "create"]:
                return self._create()
            case ["models"]:
                return self._list()
            case ["models", user, name, *rest]:
                return self._model(f"{user}/{name}", rest)
        raise RefusedError(404)

    def _create(self) -> Any:
        self._writer()
        asked = self._json()
        repo_id = f"{asked.get('organization') or 'org'}/{asked['name']}"
        url = f"{self.state.url}/{repo_id}"
        if repo_id in self.state.repos:
            raise RefusedError(409, "", "You already created this model repo", url=url)
        self.state.new(repo_id, private=bool(asked.get("private")) or asked.get("visibility") == "private")
        return {"url": url, "name": repo_id}

    def _model(self, repo_id: str, rest: list[str]) -> Any:
        repo = self._repo(repo_id)
        match rest:
            case [] | ["revision", _]:
                return self._info(repo_id, repo, rest[1] if rest else "main")
            case ["tree", revision, *_]:
                return self._paged([row(path, data) for path, data in repo.commits[repo.at(revision)].items()])
            case ["paths-info", revision]:
                files, asked = repo.commits[repo.at(revision)], parse_qs(self.body.decode()).get("paths", [])
                return [row(path, files[path]) for path in asked if path in files]
            case ["refs"]:
                kinds = {"branches": repo.branches, "tags": repo.tags}
                found = {k: [{"name": n, "ref": n, "targetCommit": s} for n, s in v.items()] for k, v in kinds.items()}
                return found | {"converts": []}
        self._writer()
        match rest:
            case ["branch", name]:
                return self._name(repo.branches, name, repo.at(self._json().get("startingPoint") or "main"))
            case ["tag", revision]:
                return self._name(repo.tags, self._json()["tag"], repo.at(revision))
            case ["preupload", revision]:
                files = repo.commits[repo.at(revision)]
                return {"files": [self._mode(asked["path"], files) for asked in self._json()["files"]]}
            case ["commit", branch]:
                return self._commit(repo_id, repo, branch)
        raise RefusedError(404)

    def _name(self, names: dict[str, str], name: str, sha: str) -> Any:
        if name in names:
            raise RefusedError(409, "", f"Reference already exists: {name}")
        names[name] = sha
        return {}

    def _mode(self, path: str, files: Files) -> dict[str, Any]:
        old = {"oid": oid(path, files[path])} if path in files else {}
        return {"path": path, "uploadMode": "lfs" if is_lfs(path) else "regular", "shouldIgnore": False, **old}

    def _info(self, repo_id: str, repo: Repo, revision: str) -> Any:
        sha = repo.at(revision)
        siblings = []
        for path, data in repo.commits[sha].items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_oid(data)}
            if is_lfs(path):
                entry["lfs"] = {"sha256": oid(path, data), "size": len(data), "pointerSize": 130}
            siblings.append(entry if self.query.get("blobs") else {"rfilename": path})
        return {**self._listed(repo_id, repo), "sha": sha, "siblings": siblings}

    def _listed(self, repo_id: str, repo: Repo) -> dict[str, Any]:
        data = repo.tagged()
        about = {
            "_id": "1",
            "id": repo_id,
            "modelId": repo_id,
            "private": repo.private,
            "gated": False,
            "downloads": repo.downloads,
        }
        pipeline = {"pipeline_tag": data["cardData"].get("pipeline_tag"), "library_name": data["cardData"].get("library_name")}
        return {**about, **data, **pipeline, "likes": 0, "lastModified": DATE, "createdAt": DATE}

    def _list(self) -> Any:
        user, asked = self._user(), self.query
        found = [self._listed(name, repo) for name, repo in self.state.repos.items() if not repo.private or (user and user[1])]
        found = [model for model in found if set(asked.get("filter", [])) <= set(model["tags"])]
        found = [model for model in found if all(text.lower() in model["id"].lower() for text in asked.get("search", []))]
        found = [model for model in found if all(model["id"].startswith(f"{name}/") for name in asked.get("author", []))]
        if asked.get("sort") == ["downloads"]:
            found.sort(key=lambda model: -model["downloads"])
        return self._paged(found)

    def _paged(self, rows: list[Any]) -> Any:
        """Return a page of the rows, and where the next one is."""
        first = int(self.query.get("cursor", ["0"])[0])
        last = first + self.state.page
        pairs = "&".join(f"{k}={quote(v)}" for k, vs in self.query.items() if k != "cursor" for v in vs)
        path = quote(urlsplit(self.path).path, safe="/%")
        link = {"Link": f'<{self.state.url}{path}?{pairs}&cursor={last}>; rel="next"'} if last < len(rows) else {}
        return json.dumps(rows[first:last]).encode(), link

    def _object(self, name: str, rest: list[str]) -> Any:
        if self.command == "PUT":
            return b"", self.state.objects.put(name, rest, self.body)
        self.state.objects.post(name, rest, self._json())
        return {}

    def _commit(self, repo_id: str, repo: Repo, branch: str) -> Any:
        if self.state.before_commit:
            todo, self.state.before_commit = self.state.before_commit, None
            todo()
        sha = repo.apply(branch, self.body, self.state.objects.kept)
        return {"commitUrl": f"{self.state.url}/{repo_id}/commit/{sha}", "commitOid": sha, "hookOutput": ""}

    def _resolve(self, repo_id: str, revision: str, path: str) -> Any:
        repo = self._repo(repo_id)
        sha = repo.at(revision)
        data = repo.commits[sha].get(path)
        if data is None:
            raise RefusedError(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": sha})
        headers = {"X-Repo-Commit": sha, "ETag": f'"{oid(path, data)}"', "Accept-Ranges": "bytes"}
        return data, headers | {"X-Linked-Size": str(len(data)), "Content-Type": "application/octet-stream"}
