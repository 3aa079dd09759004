"""Files written whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgegan.errors import StorageError

PARTIAL = ".partial-"
REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
"""The disk is full, or the file may not be written."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise _storage_error(error, str(path)) from error


def refusal(error: BaseException) -> StorageError | None:
    """Return a `StorageError` where `error` says that the disk is full or may not be written, else None."""
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return _storage_error(error, str(error.filename or "") or None)
    return None


def _storage_error(error: OSError, where: str | None) -> StorageError:
    return StorageError(
        f"cannot write: {error.strerror or error}",
        where=where,
        next="free some space or choose another folder with --out, then run the same command again",
    )


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it over `path` when the block ends well.

    Raises:
        StorageError: the file cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=path.suffix, dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with storage_errors(path):
            yield temporary
            os.chmod(temporary, 0o644)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; when the block ends well it takes `path`'s place.

    On Linux and macOS a crash at any moment leaves the old folder or the new one. Where two folders cannot be
    exchanged in one step, a crash in between leaves the old one in `.partial-*/old`.
    """
    path = Path(os.path.realpath(path))
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=path.parent))
    try:
        with storage_errors(path):
            yield temporary
            os.chmod(temporary, 0o755)
            _sync(temporary)
            _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as written:
                os.fsync(written.fileno())


def _replace_folder(new: Path, path: Path) -> None:
    """Put `new` in `path`'s place; what was there ends up in `new`, or is gone."""
    if not path.exists():
        os.replace(new, path)
    elif not _exchange(new, path):
        old = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=path.parent))
        os.replace(path, old / "old")
        os.replace(new, path)
        shutil.rmtree(old)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two paths in one step; return whether the system could."""
    names = os.fsencode(a), os.fsencode(b)
    swap = 2
    try:
        if sys.platform == "linux":
            here = -100
            return ctypes.CDLL(None).renameat2(here, names[0], here, names[1], swap) == 0
        if sys.platform == "darwin":
            return ctypes.CDLL(None).renamex_np(*names, swap) == 0
    except AttributeError:
        return False
    return False


def remove_partials(folder: Path) -> None:
    """Delete what writers that were killed left under `folder`; nobody else may be writing there."""
    with storage_errors(folder):
        for path in list(folder.rglob(f"{PARTIAL}*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path` atomically, as strict JSON (no NaN, no infinity)."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
