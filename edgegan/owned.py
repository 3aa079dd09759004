"""Folders that edgegan writes: what is ours in one is listed in it; nothing else is replaced or deleted."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from edgegan.errors import StorageError
from edgegan.files import HOLDERS, delete, partial_of, storage_errors, write_text

LIST, LOCK = ".edgegan", ".lock"
LARGEST_LIST = 4 << 20
LONGEST_PATH = 4096 - 200
"""Of a folder, in bytes: Linux's limit, less what the names of our own files in it take."""
_ELSEWHERE = "choose another folder with --out"
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK if os.name == "posix" else 0


class HeldFolder:
    """A folder that this process holds: `taken` names, relative to it, all that edgegan wrote in it.

    A name is listed before it is written, so that what a killed process left is known to be ours.
    """

    def __init__(self, folder: Path, kind: str, taken: Iterable[str]) -> None:
        self.folder, self.kind, self.taken = folder, kind, set(taken)

    def holds(self, path: Path) -> bool:
        """Tell whether `path` is in this folder."""
        return self.folder in _absolute(path).parents

    def take(self, path: Path) -> None:
        """List `path` as ours, before it is written.

        Raises:
            StorageError: something is there that edgegan did not write.
        """
        name = self._name(path)
        if name in self.taken or name == LIST:
            return
        if os.path.lexists(path):
            raise _not_ours(path)
        with storage_errors(self.folder), (self.folder / LIST).open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
            file.flush()
            os.fsync(file.fileno())
        self.taken.add(name)

    def check(self, path: Path) -> None:
        """Raise `StorageError` where something is at `path`, or in it, that edgegan did not write."""
        for found in [path, *path.rglob("*")] if path.is_dir() else [path]:
            if os.path.lexists(found) and not found.is_dir() and self._name(found) not in self.taken:
                raise _not_ours(found)

    def remove(self, path: Path) -> None:
        """Delete what edgegan wrote at `path` or in it, and the folders that this leaves empty."""
        name = self._name(path)
        ours = {entry for entry in self.taken if entry == name or entry.startswith(f"{name}/")}
        with storage_errors(path):
            for entry in ours:
                delete(partial_of(self.folder / entry))
                with suppress(IsADirectoryError, FileNotFoundError, NotADirectoryError):
                    (self.folder / entry).unlink()
            self.taken -= ours
            for entry in sorted(ours, key=len, reverse=True):
                self._remove_empty(PurePosixPath(entry).parents)
            self.save()

    def remove_partials(self) -> None:
        """Delete what writers that were killed left half-written."""
        with storage_errors(self.folder):
            for entry in (LIST, *self.taken):
                delete(partial_of(self.folder / entry))

    def save(self) -> None:
        """Write the list anew, without what is gone."""
        self.taken = {entry for entry in self.taken if self._is_there(self.folder / entry)}
        write_text(self.folder / LIST, "\n".join([_header(self.kind), *sorted(self.taken)]) + "\n")

    def _name(self, path: Path) -> str:
        return _absolute(path).relative_to(self.folder).as_posix()

    def _is_there(self, path: Path) -> bool:
        return os.path.lexists(path) or os.path.lexists(partial_of(path))

    def _remove_empty(self, folders: Iterable[PurePosixPath]) -> None:
        for folder in folders:
            if folder.parts:
                with suppress(OSError):
                    (self.folder / folder).rmdir()


def fresh(folder: str | Path, *, apart: Iterable[Path] = ()) -> Path:
    """Return the real path of a folder that is absent or empty.

    Args:
        folder: to be written as a whole.
        apart: the user's own files and folders, which must not lie in it.

    Raises:
        StorageError: it is in use.
    """
    root = _checked(folder, apart)
    with storage_errors(root):
        if os.path.lexists(root) and (not root.is_dir() or any(root.iterdir())):
            raise StorageError(
                "the folder is in use",
                where=str(root),
                next=f"{_ELSEWHERE}; one that is absent or empty will do",
            )
    return root


@contextmanager
def held(
    folder: str | Path, kind: str, *, apart: Iterable[Path] = (), adopt: bool = False
) -> Iterator[HeldFolder]:
    """Hold `folder`, which is made where it is absent, for this process: it alone writes there.

    In a folder that is held already, the one that holds it is given.

    Args:
        folder: empty, absent, or one that edgegan made.
        kind: what edgegan keeps there, such as "run"; one of another kind is refused.
        apart: the user's own files and folders, which must not lie in it.
        adopt: take a folder that is in use, too; what is in it is the user's.

    Raises:
        StorageError: the folder is in use for something else, holds a link, or is held by another process; or
            it may not be written.
    """
    root = _checked(folder, apart)
    holder = next((one for one in HOLDERS if one.folder == root or one.holds(root)), None)
    if isinstance(holder, HeldFolder):
        yield holder
        return
    with storage_errors(root):
        _listed(root, kind, adopt)
        root.mkdir(parents=True, exist_ok=True)
    with _locked(root):
        holder = HeldFolder(root, kind, _listed(root, kind, adopt))
        HOLDERS.append(holder)
        try:
            holder.remove_partials()
            holder.save()
            yield holder
        finally:
            with suppress(StorageError):
                holder.save()
            HOLDERS.remove(holder)


def _checked(folder: str | Path, apart: Iterable[Path]) -> Path:
    """Return the folder's real path; refuse a name that is empty or too long, and one that holds `apart`."""
    if not str(folder).strip():
        raise StorageError("the name of the folder is empty", next=_ELSEWHERE)
    root = Path(os.path.realpath(folder))
    if len(os.fsencode(root)) > LONGEST_PATH:
        raise StorageError("the folder's path is too long", where=str(folder), next=_ELSEWHERE)
    for path in map(Path, map(os.path.realpath, apart)):
        if root == path or root in path.parents:
            raise StorageError(
                f"this folder holds {path}, which edgegan reads: it does not write there",
                where=str(root),
                next=_ELSEWHERE,
            )
    return root


def _listed(root: Path, kind: str, adopt: bool) -> set[str]:
    """Return what the folder's list names; refuse a folder that is in use for something else."""
    if not root.exists():
        return set()
    _refuse_links(root)
    file = root / LIST
    if not file.exists():
        if not adopt and any(path.name not in (LOCK, partial_of(file).name) for path in root.iterdir()):
            raise StorageError(
                "the folder is in use: it is not empty, and holds nothing that edgegan could go on with",
                where=str(root),
                next=f"{_ELSEWHERE}; one that is absent or empty will do",
            )
        return set()
    with file.open("rb") as opened:
        lines = opened.read(LARGEST_LIST).decode(errors="replace").split("\n")
    if lines[0] == _header(kind):
        names = lines[1:-1]  # the last one has no end where its writer was killed
        if not all(map(_is_inside, names)):
            raise StorageError("its list of files is damaged", where=str(file), next=_ELSEWHERE)
        return set(names)
    if lines[0].startswith(_header("")):
        raise StorageError(
            f"the folder holds another result of edgegan: {lines[0].removeprefix(_header('')):.40}",
            where=str(root),
            next=_ELSEWHERE,
        )
    raise _not_ours(file)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return inside and name == str(path) and name.isprintable()


def _refuse_links(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _refuse_links(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                what = "a link" if entry.is_symlink() else "no plain file"
                raise StorageError(
                    f"this is {what}: edgegan neither writes nor deletes through one",
                    where=entry.path,
                    next=f"remove it, or {_ELSEWHERE}",
                )


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Lock the folder; the system lets go of it when the process ends, however it ends."""
    path = root / LOCK
    with storage_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | _PLAIN, 0o666)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise StorageError("the lock is a link", where=str(path), next=f"remove it, or {_ELSEWHERE}")
        content = os.read(handle, 100)
        if not re.fullmatch(rb"(process \d+)?", content):
            raise _not_ours(path)
        _lock(handle, root, content.decode())
        with storage_errors(path):
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, f"process {os.getpid()}".encode())
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _lock(handle: int, root: Path, holder: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StorageError(
            f"another process is writing this folder: {holder or 'unknown'}",
            where=str(root),
            next=f"wait until it has finished, or {_ELSEWHERE}",
        ) from error


def _header(kind: str) -> str:
    return f"edgegan 1 {kind}"


def _absolute(path: Path) -> Path:
    return Path(os.path.realpath(path.parent)) / path.name


def _not_ours(path: Path) -> StorageError:
    return StorageError(
        "edgegan did not write what is here, so it does not replace it",
        where=str(path),
        next=f"move it elsewhere, or {_ELSEWHERE}; then run the same command again",
    )
