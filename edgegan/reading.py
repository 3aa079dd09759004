"""Reading files that may be damaged, or made to harm: plain files, JSON and `.npz`, within bounds.

What is here raises `Unreadable`, whose text says why. `refusing` turns that, and whatever a third-party
parser raises on such a file, into the error that tells the user what, where and what next.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import stat
import sys
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgegan.errors import EdgeganError

LARGEST_JSON = 8 << 20
"""Bytes of a JSON file. As objects of Python its content may take thirty times as much."""
DEEPEST_JSON = 64
LARGEST_ARRAYS = 1 << 30
"""Bytes that the arrays taken from one place may need together."""
LONGEST_REASON = 300
_CHUNK = 1 << 20
_SHOWN = 80
_FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _flag, 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)


class Unreadable(Exception):  # noqa: N818
    """A file is not what it should be; the text says why, as in "it is cut off"."""


@contextmanager
def refusing(
    error: type[EdgeganError], what: str, *, where: str | None = None, next: str | None = None
) -> Iterator[None]:
    """Turn what a parser raises inside into `error`: `what`, a colon and the reason.

    Errors of edgegan's own, and those of missing packages, pass as they are. Only the calls of parsers belong
    inside: a fault of our own code would be told as the file's.
    """
    try:
        yield
    except (EdgeganError, ImportError):
        raise
    except Exception as problem:
        raise error(f"{what}: {reason(problem)}", where=where, next=next) from problem


def reason(problem: Exception) -> str:
    """Say in one line why a file could not be read."""
    if isinstance(problem, MemoryError):
        return "it needs more memory than there is"
    if isinstance(problem, RecursionError):
        return "it is nested too deeply"
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    first = next(iter(text.strip().splitlines()), "") or type(problem).__name__
    return first if len(first) <= LONGEST_REASON else f"{first[:LONGEST_REASON]}…"


def open_plain(path: Path, *, links: bool = True) -> BinaryIO:
    """Open a plain file to read; a pipe or a device is refused, and never waited for.

    Args:
        path: the file.
        links: whether `path` may be a link to one.

    Raises:
        Unreadable: it is absent, not a plain file, or may not be read.
    """
    try:
        handle = os.open(path, _FLAGS | (0 if links else _NO_LINKS))
    except (OSError, ValueError) as error:
        linked = not links and isinstance(error, OSError) and error.errno == errno.ELOOP
        raise Unreadable("it is a link" if linked else reason(error)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unreadable("it is not a plain file")
    return open(handle, "rb")


def check_plain(path: Path) -> None:
    """Raise `Unreadable` where `path` is not a plain file that can be opened: before parsers that open it."""
    open_plain(path).close()


def read_plain(path: Path, most: int, *, links: bool = True) -> bytes:
    """Return the bytes of a plain file of `most` bytes at the most.

    Raises:
        Unreadable: as `open_plain`, or the file is larger.
    """
    with open_plain(path, links=links) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise Unreadable(reason(error)) from error
    if len(content) > most:
        raise Unreadable(f"it is larger than {most} bytes")
    return content


def read_text(path: Path, most: int = LARGEST_JSON) -> str:
    """Return the text of a plain UTF-8 file of `most` bytes at the most.

    Raises:
        Unreadable: as `read_plain`, or it is not UTF-8.
    """
    return _decoded(read_plain(path, most))


def read_json(path: Path, most: int = LARGEST_JSON) -> Any:
    """Return what a JSON file of `most` bytes at the most holds.

    Raises:
        Unreadable: as `read_plain` and `parse_json`.
    """
    return parse_json(read_plain(path, most))


def parse_json(content: bytes | str) -> Any:
    """Parse strict JSON: UTF-8, no key twice, finite numbers, `DEEPEST_JSON` levels at the most.

    Raises:
        Unreadable: it is anything else.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        data = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_float,
        )
        _check_depth(data)
        if "\\u" in text:
            json.dumps(data, ensure_ascii=False).encode()  # fails at half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not valid JSON: {reason(error)}") from error
    return data


def read_npz(
    source: Path | bytes, names: Collection[str], most: int = LARGEST_ARRAYS
) -> dict[str, NDArray[Any]]:
    """Return the arrays `names` of an `.npz`, which together take `most` bytes at the most.

    Sizes are taken from the headers, and checked against the archive's, before anything is unpacked. Arrays
    are of plain numbers or of text: no pickle.

    Raises:
        Unreadable: it is no such file, or damaged; an array is missing or too large.
    """
    with open_npz(source, most) as archive:
        return archive.arrays(names)


@contextmanager
def open_npz(source: Path | bytes, most: int = LARGEST_ARRAYS) -> Iterator[Npz]:
    """Open an `.npz` to look at what it holds before its arrays are read; see `read_npz`."""
    file = io.BytesIO(source) if isinstance(source, bytes) else open_plain(source)
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except Exception as error:  # a damaged archive makes zipfile raise almost anything
            raise Unreadable(f"it is not a whole .npz file: {reason(error)}") from error
        with archive:
            yield Npz(archive, most)


class Npz:
    """An open `.npz`."""

    def __init__(self, archive: zipfile.ZipFile, most: int) -> None:
        self._archive, self._most = archive, most
        self.entries: dict[str, zipfile.ZipInfo] = {}
        """Name to entry, of each array."""
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name in self.entries:
                raise Unreadable(f"it holds {_shown(name)} twice")
            if name != entry.filename:
                self.entries[name] = entry

    def arrays(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """Return the arrays `names`; see `read_npz`."""
        for name in names:
            if name not in self.entries:
                raise Unreadable(f"it holds no array {_shown(name)}")
        try:
            headers = {name: _header(self._archive, self.entries[name]) for name in names}
            size = sum(dtype.itemsize * math.prod(shape) for shape, _, dtype in headers.values())
            if size > self._most:
                raise Unreadable(f"its arrays take {size} bytes, more than {self._most}")
            return {name: self._array(name, *headers[name]) for name in names}
        except Unreadable:
            raise
        except Exception as error:  # as above, and numpy too
            raise Unreadable(f"it is damaged: {reason(error)}") from error

    def _array(self, name: str, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]) -> NDArray[Any]:
        flat = np.empty(math.prod(shape), dtype)
        octets: Any = flat.view(np.uint8) if flat.size and dtype.itemsize else b""
        left = memoryview(octets)
        with self._archive.open(self.entries[name]) as entry:
            _header_of(entry)
            while left:
                block = entry.read(min(_CHUNK, len(left)))
                if not block:
                    raise Unreadable(f"the array {_shown(name)} is cut off")
                left[: len(block)] = block
                left = left[len(block) :]
            entry.read(1)  # the end is where zipfile compares the checksum
        if dtype.kind == "U" and flat.size and dtype.itemsize:
            letters = flat.view(np.uint32).astype(np.int64)
            if ((letters > sys.maxunicode) | ((letters >= 0xD800) & (letters < 0xE000))).any():
                raise Unreadable(f"the array {_shown(name)} holds no text")
        return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable(f"{_shown(entry.filename)} is compressed in a way that numpy never uses")
    with archive.open(entry) as file:
        shape, fortran, dtype = _header_of(file)
        start = file.tell()
    name = _shown(entry.filename.removesuffix(".npy"))
    if dtype.kind not in "biufU" or dtype.fields or dtype.subdtype:
        raise Unreadable(f"the array {name} holds {dtype.name!s:.{_SHOWN}}, neither numbers nor text")
    if any(size < 0 for size in shape) or start + dtype.itemsize * math.prod(shape) != entry.file_size:
        raise Unreadable(f"the array {name} is not of the size that its header says")
    return shape, fortran, dtype


def _header_of(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version != (1, 0):  # others are for headers of over 64 KiB and names of fields
        raise Unreadable(f"it holds an array of the unknown version {version}")
    return npy.read_array_header_1_0(file)


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("it is not UTF-8 text") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise ValueError(f"the key {_shown(key)} occurs twice")
        data[key] = value
    return data


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _integer(text: str) -> int:
    if len(text) > 300:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{_shown(text)} is past the range of float64")
    return value


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(DEEPEST_JSON):
        level = [
            item
            for value in level
            if isinstance(value, (dict, list))
            for item in (value.values() if isinstance(value, dict) else value)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {DEEPEST_JSON} levels")
