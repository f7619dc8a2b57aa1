"""Folders that appear or change as a whole, or not at all: after a crash or a full disk the old one is there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from zoo_core.errors import CheckpointError

TEMPORARY = ".tmp"
"""How the name of a folder ends that is being written."""


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `folder` when the block ends well; else `folder` stays as it was.

    Between the two renames at the end the old content lies in ``.NAME.old``, where `load` finds it after a crash.
    """
    folder = Path(os.path.realpath(folder))  # of a link, what it leads to
    spare = folder.with_name(f".{folder.name}.old")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if spare.exists() and not folder.exists():
            os.replace(spare, folder)
        fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{TEMPORARY}")
        fresh.mkdir()
    except OSError as error:
        raise CheckpointError(f"cannot write to {folder.parent}: {error.strerror or error}") from error
    try:
        yield fresh
        for path in fresh.rglob("*"):
            if path.is_file():
                path.chmod(fresh.stat().st_mode & 0o666)  # safetensors makes its files for the owner alone
                _flush(path)
        if folder.exists():
            shutil.rmtree(spare, ignore_errors=True)
            os.replace(folder, spare)
        try:
            os.replace(fresh, folder)
        except OSError:
            if spare.exists():
                os.replace(spare, folder)
            raise
        shutil.rmtree(spare, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write {folder}: {error}; what was there before is unchanged") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until the file is on the disk: a rename must not overtake its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
