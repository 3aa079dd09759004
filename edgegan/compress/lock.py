"""One writer to a run folder at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgegan.errors import StorageError
from edgegan.files import storage_errors

FILE = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the system lets go of it when the process ends, however it ends.

    Raises:
        StorageError: another process holds it, or it may not be written.
    """
    import fcntl

    path = folder / FILE
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"another process is writing this run folder: {os.read(handle, 100).decode() or 'unknown'}",
                where=str(folder),
                next="wait until it has finished, or choose another folder with --out",
            ) from error
        with storage_errors(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}".encode(), 0)
        yield
    finally:
        os.close(handle)
