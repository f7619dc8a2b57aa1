"""What the Hub on loopback keeps by its sha256: big files, which come in one piece or in parts."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.hub.repository import RefusedError


class Objects:
    """The files, by their sha256. `part` is the size of the parts in which they are asked for; 0 for in one piece."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.part = 0

    def wanted(self, thing: dict[str, Any], base: str) -> dict[str, Any]:
        """Return where a file is to be put; one that is there is not asked for."""
        oid = thing["oid"]
        if oid in self.kept:
            return thing
        there, upload = f"{base}/objects/{oid}", {}
        if self.part and thing["size"] > self.part:
            numbers = range(1, -(-thing["size"] // self.part) + 1)
            upload = {"header": {"chunk_size": str(self.part)} | {str(k): f"{there}/{k}" for k in numbers}}
        return thing | {"actions": {"upload": {"href": there, **upload}, "verify": {"href": f"{there}/verify"}}}

    def put(self, oid: str, rest: list[str], data: bytes) -> dict[str, str]:
        """Take a file, or the part of it that `rest` numbers, and return the headers of the answer."""
        if not rest:
            self._keep(oid, data)
            return {}
        self.parts.setdefault(oid, {})[int(rest[0])] = data
        return {"ETag": _etag(data)}

    def post(self, oid: str, rest: list[str], said: dict[str, Any]) -> None:
        """Say whether a file is there, or make it of its parts."""
        if rest:
            if len(self.kept.get(oid, b"")) != said["size"]:
                raise RefusedError(404)
            return
        parts = self.parts.pop(oid, {})
        if [(part["partNumber"], part["etag"]) for part in said["parts"]] != [(k, _etag(d)) for k, d in sorted(parts.items())]:
            raise RefusedError(400, "", "these are other parts")
        self._keep(oid, b"".join(data for _, data in sorted(parts.items())))

    def _keep(self, oid: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != oid:
            raise RefusedError(400, "", "this is another file")
        self.kept[oid] = data


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'
