"""Files written whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from edgegan.errors import StorageError

PARTIAL = ".partial-"
REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
"""The disk is full, or the file may not be written."""


class Holder(Protocol):
    """Knows of a folder which files in it edgegan wrote, and lets no others be replaced or deleted."""

    folder: Path

    def holds(self, path: Path) -> bool:
        """Tell whether `path` is in the folder."""
        ...

    def take(self, path: Path) -> None:
        """Take note that edgegan writes `path`, or refuse it with a `StorageError`."""
        ...

    def check(self, path: Path) -> None:
        """Raise `StorageError` where something is at `path`, or in it, that edgegan did not write."""
        ...

    def remove(self, path: Path) -> None:
        """Delete what edgegan wrote at `path` or in it."""
        ...


HOLDERS: list[Holder] = []
"""Of the folders that this process holds; see `edgegan.owned`."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise refusal(error, path) or _storage_error(error, str(path)) from error


def refusal(error: BaseException, path: Path | None = None) -> StorageError | None:
    """Return a `StorageError` where the disk is full, too many files are open or one may not be written."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return StorageError(
            "this process may not open as many files as it needs",
            next="raise the limit, as with `ulimit -n 1024`, then run the same command again",
        )
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return _storage_error(error, str(path or error.filename or "") or None)
    return None


def _storage_error(error: OSError, where: str | None) -> StorageError:
    elsewhere = " or choose another folder with --out" if where else ""
    return StorageError(
        f"cannot write: {error.strerror or error}",
        where=where,
        next=f"free some space{elsewhere}, then run the same command again",
    )


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it over `path` when the block ends well.

    Raises:
        StorageError: the file cannot be written, or is in a folder that is held and not edgegan's.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        with storage_errors(path):
            yield temporary
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

    Raises:
        StorageError: as `atomic_path` does.
    """
    path = Path(os.path.realpath(path))
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        new = temporary / "new"
        new.mkdir(parents=True)
    try:
        with storage_errors(path):
            yield new
            _sync(new)
            if holder := _holder(path):
                holder.check(path)
                for file in new.rglob("*"):
                    if file.is_file():
                        holder.take(path / file.relative_to(new))
            _replace_folder(new, path)
    except StorageError as error:
        if str(temporary) not in (error.where or ""):
            raise
        raise StorageError(error.what, where=str(path), next=error.next) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _holder(path: Path) -> Holder | None:
    return next((holder for holder in HOLDERS if holder.holds(path)), None)


def _temporary(path: Path) -> Path:
    """Return a free path beside `path`; in a folder that is held, the one that is known to be ours."""
    holder = _holder(path)
    if holder is None:
        return path.with_name(f"{PARTIAL}{secrets.token_hex(8)}{path.suffix}")
    holder.take(path)
    temporary = partial_of(path)
    delete(temporary)
    return temporary


def partial_of(path: Path) -> Path:
    """Return where `path`, in a folder that is held, is written before it is renamed."""
    return path.with_name(PARTIAL + path.name)


def delete(path: Path) -> None:
    """Delete a file, a link or a folder with all that is in it, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a file or a folder that edgegan wrote, where there is one; in it, what others put there stays.

    Raises:
        StorageError: it cannot be deleted.
    """
    with storage_errors(path):
        if holder := _holder(path):
            holder.remove(path)
        else:
            path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as written:
                os.fsync(written.fileno())


def _replace_folder(new: Path, path: Path) -> None:
    """Put `new` in `path`'s place; what was there ends up beside `new`."""
    if not path.exists():
        os.replace(new, path)
    elif not _exchange(new, path):
        os.replace(path, new.with_name("old"))
        os.replace(new, path)


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
