"""Files and folders written whole or not at all, and refusals told as such."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegan import files
from edgegan.errors import StorageError
from edgegan.files import atomic_folder, atomic_path, refusal, sha256, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def half_way(writing: AbstractContextManager[Path], write: Callable[[Path], object]) -> None:
    with writing as temporary:
        write(temporary)
        raise ZeroDivisionError


def test_a_file_takes_the_old_ones_place(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "x.txt", "old")
    write_text(tmp_path / "a" / "x.txt", "neu ü")
    assert (tmp_path / "a" / "x.txt").read_text(encoding="utf-8") == "neu ü"
    assert names(tmp_path / "a") == ["x.txt"]


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_the_users_umask_holds(tmp_path: Path, umask: int, file: int, folder: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a" / "x.txt", "x")
        with atomic_folder(tmp_path / "made") as temporary:
            (temporary / "y").write_text("y")
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a/x.txt", "made/y", "a", "made")]
    assert modes == [file, file, folder, folder]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "x.txt", "old")
    with pytest.raises(ZeroDivisionError):
        half_way(atomic_path(tmp_path / "x.txt"), lambda temporary: temporary.write_text("half"))
    assert (tmp_path / "x.txt").read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


def test_a_folder_takes_the_old_ones_place(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "made") as temporary:
            (temporary / content).write_text(content)
    assert names(tmp_path / "made") == ["new"]
    assert names(tmp_path) == ["made"]


@pytest.mark.parametrize("exchange", [files._exchange, lambda a, b: False])
def test_a_failure_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: object
) -> None:
    monkeypatch.setattr(files, "_exchange", exchange)
    with atomic_folder(tmp_path / "made") as temporary:
        (temporary / "old").touch()
    with pytest.raises(ZeroDivisionError):
        half_way(atomic_folder(tmp_path / "made"), lambda temporary: (temporary / "half").touch())
    assert names(tmp_path / "made") == ["old"]
    assert names(tmp_path) == ["made"]


def test_what_cannot_be_written_is_told_by_the_folders_own_name(tmp_path: Path) -> None:
    def fill(temporary: Path) -> None:
        with files.storage_errors(temporary / "half"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="No space left") as caught:
        half_way(atomic_folder(tmp_path / "made"), fill)
    assert caught.value.where == str(tmp_path / "made")
    assert names(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file_and_a_partial_one(tmp_path: Path) -> None:
    write_text(tmp_path / "x.txt", "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from edgegan.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.txt"], check=False)
    assert (tmp_path / "x.txt").read_text() == "old"
    assert len(names(tmp_path)) == 2


def test_what_is_no_json_is_not_written(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1, None]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1, None]}


@pytest.mark.parametrize(
    "write", [lambda path: write_text(path, "x"), lambda path: atomic_folder(path).__enter__()]
)
def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path, write: object) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught:
        write(tmp_path / "file" / "x")  # type: ignore[operator]
    assert caught.value.where == str(tmp_path / "file" / "x")
    assert "--out" in (caught.value.next or "")


@pytest.mark.parametrize(
    ("number", "refused"),
    [
        (errno.ENOSPC, True),
        (errno.EACCES, True),
        (errno.EROFS, True),
        (errno.EFBIG, True),
        (errno.EMFILE, True),
        (errno.ENOENT, False),
    ],
)
def test_only_refusals_to_write_are_refusals(number: int, refused: bool) -> None:
    told = f"cannot write: {os.strerror(number)}"
    error = refusal(OSError(number, os.strerror(number), "/x"))
    assert (error is not None) == refused
    if error:
        files = number == errno.EMFILE
        assert error.what == ("this process may not open as many files as it needs" if files else told)
        assert error.where == (None if files else "/x")
    assert refusal(ValueError("x")) is None


@given(st.binary(max_size=300))
def test_the_checksum_is_sha256(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        files.write_bytes(path, content)
        assert sha256(path) == hashlib.sha256(content).hexdigest()
