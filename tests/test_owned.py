"""Folders that edgegan writes: nothing of the user's in them is replaced, deleted or written through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgegan.errors import StorageError
from edgegan.files import atomic_folder, remove, write_text
from edgegan.owned import LIST, LOCK, held


def files(folder: Path) -> dict[str, str]:
    """Every file's content, but for those by which the folder is held."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (LIST, LOCK)
    }


def made(folder: Path) -> Path:
    """A run's folder, with a few files of ours."""
    with held(folder, "run"):
        write_text(folder / "run.json", "ours")
        write_text(folder / "stages" / "01-prune" / "key", "ours")
        write_text(folder / "samples" / "fp32.npz", "ours")
        with atomic_folder(folder / "bundle") as bundle:
            (bundle / "manifest.json").write_text("ours")
    return folder


def hold(folder: str | Path, *apart: Path, kind: str = "run") -> None:
    with held(folder, kind, apart=apart):
        pass


def test_a_folder_that_is_absent_or_empty_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("absent/inner", "empty"):
        hold(tmp_path / name)
        hold(tmp_path / name)
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == [LIST, LOCK]


@pytest.mark.parametrize("name", ["photo.jpg", "stages/act1/scene.txt", ".lock", ".edgegan", ".git/config"])
def test_a_folder_in_use_is_refused_untouched(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("my only copy")
    with pytest.raises(StorageError, match=r"in use|did not write") as caught:
        hold(tmp_path)
    assert caught.value.next is not None
    assert "--out" in caught.value.next
    assert file.read_text() == "my only copy"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


@pytest.mark.parametrize("folder", ["", "  "])
def test_an_empty_name_is_refused(folder: str) -> None:
    with pytest.raises(StorageError, match="name of the folder is empty"):
        hold(folder)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(StorageError):
        hold(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "mine"


@pytest.mark.parametrize("name", ["n" * 256, "/".join(["deep" * 10] * 97)])
def test_a_name_that_is_too_long_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="too long"):
        hold(tmp_path / name)


@pytest.mark.parametrize("apart", ["recipe", "recipe/recipe.yaml", "recipe/weights/teacher.pt"])
def test_a_folder_with_what_is_read_is_refused(tmp_path: Path, apart: str) -> None:
    made(tmp_path / "recipe")
    (tmp_path / "link").symlink_to("recipe")
    for folder in ("recipe", "link", "recipe/../recipe"):
        with pytest.raises(StorageError, match="which edgegan reads"):
            hold(tmp_path / folder, tmp_path / apart)
    hold(tmp_path / "recipe" / "runs", tmp_path / "recipe" / "recipe.yaml")


def test_a_result_of_another_kind_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "x")
    with pytest.raises(StorageError, match="another result of edgegan: run"):
        hold(tmp_path / "x", kind="teacher")


def test_what_others_put_there_is_neither_replaced_nor_deleted(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    mine = {
        "report.html": "mine",
        "samples/cat.png": "my only copy",
        "stages/act1/scene.txt": "scene",
        "stages/01-prune/notes.txt": "notes",
        "src/.partial-work/thesis.tex": "thesis",
        "bundle/app.js": "app",
    }
    for name, content in mine.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(content)
    with held(run, "run") as holder:
        with pytest.raises(StorageError, match="did not write"):
            write_text(run / "report.html", "ours")
        with pytest.raises(StorageError, match=r"did not write") as caught:
            holder.check(run / "bundle")
        assert caught.value.where == str(run / "bundle" / "app.js")
        with pytest.raises(StorageError, match="did not write"), atomic_folder(run / "bundle") as bundle:
            (bundle / "manifest.json").write_text("new")
        for path in list(run.iterdir()):
            if path.is_dir():
                remove(path)
        remove(run / "report.html")
    assert files(run) == {"run.json": "ours", **mine}


def test_empty_folders_of_ours_go_with_their_files(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    with held(run, "run"):
        remove(run / "stages" / "01-prune")
        remove(run / "bundle")
    assert sorted(path.name for path in run.iterdir()) == [LIST, LOCK, "run.json", "samples"]


def test_what_was_deleted_is_no_longer_ours(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    with held(run, "run"):
        remove(run / "run.json")
        (run / "run.json").write_text("mine")
        with pytest.raises(StorageError, match="did not write"):
            write_text(run / "run.json", "ours")


@pytest.mark.parametrize("where", [".lock", "stages", "bundle/manifest.json", "new", ".edgegan"])
@pytest.mark.parametrize("target", ["file", "folder", "absent"])
def test_links_are_refused_before_anything_is_written(tmp_path: Path, where: str, target: str) -> None:
    run, victim = made(tmp_path / "run"), tmp_path / "victim"
    (victim / "folder" / "docs").mkdir(parents=True)
    (victim / "folder" / "docs" / "a.txt").write_text("mine")
    (victim / "file").write_text("mine")
    before = files(run)
    if (run / where).exists():
        (run / where).rename(tmp_path / "aside")
    (run / where).symlink_to(victim / target)
    with pytest.raises(StorageError) as caught:
        hold(run)
    assert caught.value.where == str(run / where)
    assert files(victim) == {"file": "mine", "folder/docs/a.txt": "mine"}
    assert not (victim / "absent").exists()
    assert files(run).items() <= {**before, where: "mine"}.items()


def test_pipes_and_second_names_of_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(made(tmp_path / "pipe") / "x")
    with pytest.raises(StorageError, match="no plain file"):
        hold(tmp_path / "pipe")
    (tmp_path / "bashrc").write_text("")
    (tmp_path / "hard").mkdir()
    os.link(tmp_path / "bashrc", tmp_path / "hard" / ".lock")
    with pytest.raises(StorageError, match="the lock is a link"):
        hold(tmp_path / "hard")
    assert (tmp_path / "bashrc").read_text() == ""


@pytest.mark.parametrize("line", ["/etc/passwd", "../victim", "a/../../victim", ".", "", "a\x00b"])
def test_a_list_that_leads_outside_is_refused(tmp_path: Path, line: str) -> None:
    run = made(tmp_path / "run")
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".partial-victim").write_text("mine")
    with (run / LIST).open("ab") as file:
        file.write(line.encode() + b"\n")
    with pytest.raises(StorageError, match="damaged"):
        hold(run)
    assert (tmp_path / ".partial-victim").read_text() == (tmp_path / "victim").read_text() == "mine"


KILLED = """
import os, signal, sys
from pathlib import Path
from edgegan.files import atomic_folder, atomic_path
from edgegan.owned import held

run = Path(sys.argv[1])
with held(run, "run"), atomic_folder(run / "bundle") as bundle, atomic_path(run / "x.npz") as temporary:
    (bundle / "model.onnx").write_text("half")
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_ours_and_goes(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    before = files(run)
    killed = subprocess.run([sys.executable, "-c", KILLED, run], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(files(run)) == len(before) + 2
    (run / ".partial-thesis").write_text("mine")
    hold(run)
    assert files(run) == {**before, ".partial-thesis": "mine"}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = "import sys; from edgegan.owned import held\n"
    code += "with held(sys.argv[1], 'run'): print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout
    other.stdout.readline()
    with pytest.raises(StorageError, match=f"another process is writing this folder: process {other.pid}"):
        hold(tmp_path / "x")
    other.communicate(b"\n")
    hold(tmp_path / "x")


def test_a_held_folder_is_not_held_twice(tmp_path: Path) -> None:
    with held(tmp_path / "x", "run") as outer, held(tmp_path / "x" / "stages", "stages") as inner:
        assert inner is outer
