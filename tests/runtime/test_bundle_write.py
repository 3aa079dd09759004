"""Writing over what is there: bundles only, and in one step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgegan import files
from edgegan.errors import InputError, StorageError
from edgegan.runtime import Bundle, Contract, write_bundle


@pytest.fixture
def write(models: Path, contract: Contract) -> Callable[[Path, str], Bundle]:
    def write(folder: Path, name: str) -> Bundle:
        return write_bundle(
            folder,
            name=name,
            contract=contract,
            models={"fp32": models / "labelled.onnx"},
            default="fp32",
        )

    return write


Write = Callable[[Path, str], Bundle]


def test_a_bundle_takes_the_place_of_a_bundle(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "bundle", "old")
    assert write(tmp_path / "bundle", "new").manifest.name == "new"
    assert Bundle.open(tmp_path / "bundle").manifest.name == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, write: Write) -> None:
    first, second = write(tmp_path / "a", "x"), write(tmp_path / "b", "x")
    assert (first.folder / "manifest.json").read_bytes() == (second.folder / "manifest.json").read_bytes()


def test_without_an_exchange_the_bundle_is_replaced_too(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    write(tmp_path / "bundle", "old")
    write(tmp_path / "bundle", "new")
    assert Bundle.open(tmp_path / "bundle").manifest.name == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_empty_folder_may_be_used(tmp_path: Path, write: Write) -> None:
    (tmp_path / "bundle").mkdir()
    assert write(tmp_path / "bundle", "x").manifest.name == "x"


def test_nothing_but_a_bundle_is_replaced(tmp_path: Path, write: Write) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("precious")
    for folder in (tmp_path / "photos", tmp_path / "photos" / "me.jpg"):
        with pytest.raises(InputError, match="not a bundle"):
            write(folder, "x")
    assert (tmp_path / "photos" / "me.jpg").read_text() == "precious"


@pytest.mark.parametrize(
    "manifest",
    [
        '{"name": "my app", "icons": []}',
        '{"created_by": "edgegan 0.1.0", "files": {}}',
        '{"created_by": "me", "files": {"me.jpg": {}}}',
        '{"created_by": 3, "files": []}',
        "[" * 100_000,
        "no json",
    ],
)
def test_a_manifest_of_something_else_makes_no_bundle(tmp_path: Path, write: Write, manifest: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "me.jpg").write_text("precious")
    (tmp_path / "app" / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match="not a bundle"):
        write(tmp_path / "app", "x")
    assert (tmp_path / "app" / "me.jpg").read_text() == "precious"


@pytest.mark.parametrize("name", ["app.js", ".hidden", "sub/app.js"])
def test_a_bundle_with_a_file_of_the_users_is_not_replaced(tmp_path: Path, write: Write, name: str) -> None:
    write(tmp_path / "bundle", "old")
    (tmp_path / "bundle" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "bundle" / name).write_text("precious")
    with pytest.raises(InputError, match="not a bundle"):
        write(tmp_path / "bundle", "new")
    assert (tmp_path / "bundle" / name).read_text() == "precious"


def test_a_full_disk_leaves_the_old_bundle(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "bundle", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="No space left"):
            write(tmp_path / "bundle", "new")
    assert Bundle.open(tmp_path / "bundle").manifest.name == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


CRASHES = """
import json, os, sys
from pathlib import Path
from edgegan.runtime import Bundle, Contract, write_bundle

folder, model, contract = Path(sys.argv[1]), Path(sys.argv[2]), Contract.from_dict(json.loads(sys.argv[3]))

def write(name):
    write_bundle(folder, name=name, contract=contract, models={"fp32": model}, default="fp32",
                 lineage=[], figures={}, extra_files={})

def child(moment):
    left = moment
    def count(event, arguments):
        nonlocal left
        if event in ("open", "shutil.rmtree") or event.startswith("os."):
            left -= 1
            if left < 0:
                os._exit(9)
    sys.addaudithook(count)
    write("new")
    os._exit(0)

write("old")
found = []
for moment in range(1000):
    pid = os.fork()
    if pid == 0:
        child(moment)
    crashed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    found.append(Bundle.open(folder).manifest.name)
    if not crashed:
        break
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the crash test forks, and the exchange is Linux's")
def test_a_crash_at_any_moment_leaves_the_old_bundle_or_the_new(
    tmp_path: Path, models: Path, contract: Contract
) -> None:
    arguments = [tmp_path / "bundle", models / "labelled.onnx", json.dumps(contract.to_dict())]
    ran = subprocess.run(
        [sys.executable, "-c", CRASHES, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert len(found) > 20
    first_new = found.index("new")
    assert first_new > 10
    assert set(found[:first_new]) == {"old"}
    assert set(found[first_new:]) == {"new"}
