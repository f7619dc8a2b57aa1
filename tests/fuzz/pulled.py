"""Repositories on a Hub on loopback whose files, names and answers are not what they should be."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import judge
from tests.fuzz.folders import DAMAGES, Folders
from tests.hub.server import Fault, Hub
from zoo_core import hub, remote

EVIL = (
    "../../owned",
    "/tmp/owned",
    "a/../../owned",
    "evil.py",
    "pytorch_model.bin",
    "config.json/x",
    "\x1b[31m",
    "c:\\owned",
    "x" * 300,
)


class Pulled:
    """Cases of repositories; each is pulled into an empty cache by the genuine client."""

    def __init__(self, home: Path) -> None:
        from huggingface_hub import constants

        constants.HF_HUB_DISABLE_XET = True
        self.home, self.folders, self.number = home, Folders(home / "folders"), 0
        self.largest = self.folders.largest
        self.hub = Hub().start()

    def warm(self) -> None:
        """Pull a good repository once."""
        self._pull(self._files(self.folders.good / "one"))

    def _files(self, folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def _pull(self, files: dict[str, bytes]) -> str:
        self.number += 1
        name, cache = f"org/m{self.number}", self.home / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        self.hub.repos.clear()
        self.hub.new(name, files)
        try:
            folder = remote.fetch(name, endpoint=self.hub.url, cache_dir=cache, token=False)
            model = hub.load(folder)
        except Exception as error:
            return judge.refused(error)
        finally:
            outside = [path for path in cache.rglob("*") if os.path.commonpath((cache, path.resolve())) != str(cache.resolve())]
            if outside or (self.home / "owned").exists():
                raise judge.WrongError(f"a file outside of the cache: {outside}")
        if extra := {path.name for path in folder.iterdir()} - set(remote.FILES):
            raise judge.WrongError(f"taken beside the three files: {extra}")
        return judge.same(model, folder)

    def run(self, rng: random.Random, begin: Callable[[], None]) -> tuple[str, str]:
        """Damage a repository, call `begin`, pull it; return what was done to it and what became of it."""
        bad = self.home / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        seed = rng.choice(self.folders.names)
        folder = Path(shutil.copytree(self.folders.good / seed, bad))
        kind = rng.randrange(4)
        self.hub.faults.clear()
        what = f"{seed}, "
        if kind <= 1:
            damage = rng.choice(DAMAGES[:-1])  # of files; there are no links on a Hub
            damage(rng, folder)
            files, what = self._files(folder), what + damage.__name__
        else:
            files, what = self._files(folder), what + ("names", "answers")[kind - 2]
        if kind == 2:
            files |= {rng.choice(EVIL): b"import os; os.system('touch owned')" for _ in range(3)}
            if rng.random() < 0.3:
                files.pop(rng.choice((hub.CONFIG, hub.WEIGHTS)))
        if kind == 3:
            path = rng.choice(("resolve/.*/config.json", "resolve/.*safetensors", "/api/models", "resolve/.*README"))
            changes = (
                lambda body: body[:-5],
                lambda body: body + b"x",
                lambda body: bytes([body[0] ^ 1]) + body[1:],
                lambda body: b"",
            )
            # the genuine client asks again for minutes where an answer is cut, so that is left to ordinary tests
            self.hub.faults.append(Fault(path, 100, change=rng.choice(changes)))
        begin()
        return what, self._pull(files)
