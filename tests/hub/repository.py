"""A repository of the Hub on loopback: commits, the names that lead to them, and what the files are called."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Files = dict[str, bytes]


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str = "", text: str = "", **more: str) -> None:
        self.status, self.code, self.text, self.more = status, code, text or code, more


def is_lfs(path: str) -> bool:
    """Say whether a file is kept by its sha256."""
    return path.endswith((".safetensors", ".bin", ".pth"))


def oid(path: str, data: bytes) -> str:
    """Return what a Hub calls a file: its sha256, or the sha1 that git has for it."""
    return hashlib.sha256(data).hexdigest() if is_lfs(path) else git_oid(data)


def git_oid(data: bytes) -> str:
    """Return git's name of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def row(path: str, data: bytes) -> dict[str, Any]:
    """Return a file as the tree has it."""
    found: dict[str, Any] = {"type": "file", "path": path, "oid": git_oid(data), "size": len(data)}
    return found | ({"lfs": {"oid": oid(path, data), "size": len(data), "pointerSize": 130}} if is_lfs(path) else {})


@dataclass
class Repo:
    """A repository: its commits (sha to files), and the names that lead to them."""

    private: bool = False
    downloads: int = 0
    commits: dict[str, Files] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: Files) -> str:
        """Put a commit on top of a branch and return its sha."""
        told = repr((self.order, branch, sorted((name, hashlib.sha256(data).hexdigest()) for name, data in files.items())))
        sha = hashlib.sha1(told.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.order.append(sha)
        self.branches[branch] = sha
        return sha

    def sha(self, revision: str) -> str | None:
        """Return the commit that a branch, a tag or a sha names."""
        found = self.branches.get(revision) or self.tags.get(revision)
        return found or (revision if revision in self.commits else None)

    def tagged(self) -> dict[str, Any]:
        """Return the metadata of the card, and the tags that a Hub makes of it."""
        found = re.match(r"---\n(.*?)\n---", self.commits[self.branches["main"]].get("README.md", b"").decode(), re.DOTALL)
        data = (yaml.safe_load(found[1]) if found else {}) or {}
        tags = [*data.get("tags", []), data.get("library_name"), data.get("pipeline_tag")]
        return {"cardData": data, "tags": [tag for tag in dict.fromkeys(tags) if tag]}

    def at(self, revision: str) -> str:
        """Return the commit that a branch, a tag or a sha names; refuse what is none."""
        sha = self.sha(revision)
        if sha is None:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha

    def apply(self, branch: str, lines: bytes, uploaded: Mapping[str, bytes]) -> str:
        """Put a commit on top of a branch, in the words of the protocol, and return its sha."""
        head = self.branches.get(branch)
        if head is None:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        files = dict(self.commits[head])
        for line in lines.decode().splitlines():
            entry = json.loads(line)
            key, value = entry["key"], entry["value"]
            if key == "header" and value.get("parentCommit") not in (None, head):
                raise RefusedError(412, "", "A commit has happened since. Please refresh and try again.")
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if key == "lfsFile":
                if value["oid"] not in uploaded:
                    raise RefusedError(400, "", "LFS object was never uploaded")
                files[value["path"]] = uploaded[value["oid"]]
            if key == "deletedFile":
                del files[value["path"]]
        return self.commit(branch, files)
