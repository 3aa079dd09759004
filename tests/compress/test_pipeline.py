"""The pipeline: what is kept, what is run again, and what a broken-off run leaves."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pipeline_stages import Fail, Fake, Liar, Misfit, Shake, Ship, Shrink, first, stages

from edgegan.compress.pipeline import Pipeline
from edgegan.compress.stage import Candidate, Context, Stage
from edgegan.errors import EdgeganError, ModelError, ProofError, StageError, StorageError
from edgegan.files import write_text
from edgegan.owned import held

PROGRAM = Path(__file__).with_name("pipeline_stages.py")


@pytest.fixture(autouse=True)
def runs() -> list[str]:
    Fake.runs.clear()
    return Fake.runs


def run(
    folder: Path, chosen: list[Stage] | None = None, *, seed: int = 0, origin: str = "first"
) -> Candidate:
    return Pipeline(stages() if chosen is None else chosen, origin=origin).run(
        first(), Context(folder, seed=seed)
    )


def contents(folder: Path) -> dict[str, str]:
    """Every file's checksum."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_stages_run_in_order_and_leave_their_folders(tmp_path: Path, runs: list[str]) -> None:
    after = run(tmp_path)
    assert runs == ["shrink", "shake", "shake", "ship"]
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == [
        "01-shrink",
        "02-shake",
        "03-shake",
        "04-ship",
    ]
    assert [record.stage for record in after.lineage] == ["shrink", "shake", "shake", "ship"]
    assert after.student.state_dict()["0.weight"].shape == (3, 4)
    assert after.files == {"fp32": tmp_path / "04-ship" / "model.fp32.onnx"}
    assert not after.student.training


def test_the_first_candidate_is_not_changed(tmp_path: Path) -> None:
    candidate = first()
    before = {key: value.clone() for key, value in candidate.student.state_dict().items()}
    Pipeline(stages()).run(candidate, Context(tmp_path))
    for key, value in candidate.student.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert candidate.lineage == ()


def test_finished_stages_are_restored_and_not_run(tmp_path: Path, runs: list[str]) -> None:
    once = run(tmp_path)
    runs.clear()
    again = run(tmp_path)
    assert runs == []
    assert again.lineage == once.lineage
    assert again.files == once.files
    for key, value in once.student.state_dict().items():
        torch.testing.assert_close(again.student.state_dict()[key], value, rtol=0, atol=0)


def test_two_runs_are_equal_bit_for_bit(tmp_path: Path) -> None:
    run(tmp_path / "a")
    torch.rand(17)
    run(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_moved_run_folder_is_gone_on_with(tmp_path: Path, runs: list[str]) -> None:
    run(tmp_path / "here", stages())
    shutil.rmtree(tmp_path / "here" / "04-ship")
    shutil.move(tmp_path / "here", tmp_path / "there")
    runs.clear()
    after = run(tmp_path / "there")
    assert runs == ["ship"]
    assert after.files == {"fp32": tmp_path / "there" / "04-ship" / "model.fp32.onnx"}


def test_nothing_kept_names_a_place(tmp_path: Path) -> None:
    run(tmp_path)
    for path in tmp_path.rglob("*.json"):
        assert str(tmp_path) not in path.read_text()


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        (lambda folder: run(folder, [Shrink(), Shake(amount=0.2), Shake(amount=0.3), Ship()]), 3),
        (lambda folder: run(folder, seed=1), 4),
        (lambda folder: run(folder, origin="another model"), 4),
        (lambda folder: run(folder, [Shrink(), Ship()]), 1),
        (lambda folder: run(folder, stages()[:2]), 0),
    ],
)
def test_a_stage_is_run_again_where_what_it_rests_on_changed(
    tmp_path: Path, runs: list[str], change: Callable[[Path], object], rerun: int
) -> None:
    run(tmp_path)
    runs.clear()
    change(tmp_path)
    assert len(runs) == rerun


def test_folders_of_other_stages_are_cleared(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "02-shake" / "notes.txt").write_text("mine")
    (tmp_path / "act1").mkdir()
    (tmp_path / "act1" / "scene.txt").write_text("mine")
    run(tmp_path, [Shrink(), Ship()])
    left = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.glob("[!.]*"))]
    assert left == ["01-shrink", "02-shake", "02-ship", "act1"]
    assert [path.name for path in (tmp_path / "02-shake").iterdir()] == ["notes.txt"]
    assert (tmp_path / "act1" / "scene.txt").read_text() == "mine"


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "act1").mkdir()
    (tmp_path / "act1" / "scene.txt").write_text("mine")
    with pytest.raises(StorageError, match="in use"):
        run(tmp_path)
    assert list(contents(tmp_path)) == ["act1/scene.txt"]


@pytest.mark.parametrize("name", ["student.safetensors", "structure.json", "model.fp32.onnx", "record.json"])
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_result_is_made_again(tmp_path: Path, runs: list[str], name: str, damage: str) -> None:
    run(tmp_path)
    before = contents(tmp_path)
    path = tmp_path / "04-ship" / name
    path.unlink() if damage == "missing" else path.write_text('{"sha256": {"gone": "0"}}')
    runs.clear()
    run(tmp_path)
    assert runs == ["ship"]
    assert contents(tmp_path) == before


def test_an_unfinished_folder_of_the_same_step_is_kept(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "04-ship" / "record.json").unlink()
    (tmp_path / "04-ship" / "checkpoint").touch()
    run(tmp_path)
    assert (tmp_path / "04-ship" / "checkpoint").exists()


def test_an_unfinished_folder_of_another_step_is_cleared(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "04-ship" / "record.json").unlink()
    with held(tmp_path, "stages"):
        write_text(tmp_path / "04-ship" / "checkpoint", "ours")
    run(tmp_path, seed=5)
    assert not (tmp_path / "04-ship" / "checkpoint").exists()


def test_a_failure_names_the_stage_and_the_run_can_be_gone_on_with(tmp_path: Path, runs: list[str]) -> None:
    with pytest.raises(StageError) as caught:
        run(tmp_path, [Shrink(), Fail()])
    assert caught.value.where == "stage fail"
    runs.clear()
    run(tmp_path, [Shrink(), Ship()])
    assert runs == ["ship"]


@pytest.mark.parametrize(
    ("error", "kind", "where"),
    [
        (ModelError("no", where="layer 3"), ModelError, "stage fail: layer 3"),
        (ProofError("no"), ProofError, "stage fail"),
        (ValueError("odd value\nand more"), StageError, "stage fail"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), StorageError, "stage fail: /x/y"),
        (OSError(errno.ENOENT, "No such file", "/x/y"), StageError, "stage fail"),
    ],
)
def test_every_error_of_a_stage_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[EdgeganError], where: str
) -> None:
    monkeypatch.setattr(Fail, "error", error)
    with pytest.raises(kind) as caught:
        run(tmp_path, [Fail()])
    assert caught.value.where == where


def test_the_layer_and_the_shapes_are_named(tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        run(tmp_path, [Misfit()])
    assert caught.value.where == "stage misfit, layer 0"
    assert "1x5 and 4x8" in caught.value.what


def test_a_broken_promise_is_our_bug(tmp_path: Path) -> None:
    with pytest.raises(ProofError) as caught:
        run(tmp_path, [Liar()])
    assert caught.value.exit_code == 1
    assert not (tmp_path / "01-liar" / "record.json").exists()


def test_a_stage_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "stages").touch()
    with pytest.raises(StorageError):
        run(tmp_path / "stages")


def test_progress_is_told_of_each_stage(tmp_path: Path) -> None:
    begun: list[tuple[str, bool]] = []
    ticks: list[tuple[int, int]] = []

    def follow(stage: str, restored: bool) -> Callable[[int, int], None]:
        begun.append((stage, restored))
        return lambda done, total: ticks.append((done, total))

    Pipeline([Shrink()], follow=follow).run(first(), Context(tmp_path))
    Pipeline([Shrink(), Shake()], follow=follow).run(first(), Context(tmp_path))
    assert begun == [("shrink", False), ("shrink", True), ("shake", False)]
    assert ticks == [(1, 3), (2, 3), (3, 3)] * 2


def test_another_process_waits_for_the_first_and_reads_its_result(
    tmp_path: Path, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = run(tmp_path)
    before = contents(tmp_path)
    runs.clear()
    monkeypatch.setenv("RANK", "1")
    again = run(tmp_path)
    assert runs == []
    assert contents(tmp_path) == before
    assert again.lineage == once.lineage


@pytest.mark.slow
def test_killed_at_any_moment_the_same_command_gives_the_same_bits(tmp_path: Path) -> None:
    run(tmp_path / "whole", stages(0.05))
    rng, kills = random.Random(4), 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, PROGRAM, tmp_path / "broken", "0.05"],
            stdout=subprocess.PIPE,
            env=dict(os.environ),
        )
        assert process.stdout
        process.stdout.readline()
        time.sleep(rng.uniform(0.05, 0.35))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.stdout.close()
        if process.wait() == 0:
            break
    assert kills >= 2
    Pipeline(stages(0.05), origin="first").run(first(), Context(tmp_path / "broken"))
    left = {name for name in contents(tmp_path / "broken") if ".partial-" not in name}
    whole, broken = contents(tmp_path / "whole"), contents(tmp_path / "broken")
    assert left == set(whole)
    assert {name: broken[name] for name in whole} == whole


def test_a_record_is_plain_data(tmp_path: Path) -> None:
    run(tmp_path)
    record = json.loads((tmp_path / "04-ship" / "record.json").read_text())
    assert record["stage"] == "ship"
    assert record["seconds"] == 0.5
    assert [(of["name"], of["file"]) for of in record["artifacts"]] == [("fp32", "model.fp32.onnx")]
    assert set(record["sha256"]) == {"structure.json", "student.safetensors", "model.fp32.onnx"}


@pytest.mark.parametrize("file", ["key.json", "record.json", "structure.json", "student.safetensors"])
@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff\xfe", b"[]", b'{"sha256": {"x": 1}}', b"[" * 100_000, b'{"sha256": {}}'],
    ids=range(6),
)
def test_a_stage_whose_record_is_damaged_runs_again(
    tmp_path: Path, runs: list[str], file: str, damage: bytes
) -> None:
    run(tmp_path)
    whole = contents(tmp_path)
    runs.clear()
    (tmp_path / "02-shake" / file).write_bytes(damage)
    run(tmp_path)
    assert runs == ["shake"]
    assert contents(tmp_path) == whole


def test_a_record_of_an_earlier_version_names_its_files_only(tmp_path: Path, runs: list[str]) -> None:
    run(tmp_path)
    path = tmp_path / "04-ship" / "record.json"
    record = json.loads(path.read_text())
    named = {of["name"]: of["file"] for of in record.pop("artifacts")}
    path.write_text(json.dumps({**record, "files": {**named, "int8-arm64": named["fp32"]}}))
    runs.clear()
    restored = run(tmp_path)
    assert runs == []
    assert [(of.name, of.precision, of.arch) for of in restored.artifacts] == [
        ("fp32", "fp32", None),
        ("int8-arm64", "int8", "aarch64"),
    ]
    assert restored.files["int8-arm64"] == path.with_name("model.fp32.onnx")


def test_a_record_that_names_files_elsewhere_is_not_followed(tmp_path: Path, runs: list[str]) -> None:
    run(tmp_path / "stages")
    (tmp_path / "secret").write_bytes(b"x")
    record = tmp_path / "stages" / "04-ship" / "record.json"
    content = json.loads(record.read_text())
    content["sha256"]["../../secret"] = hashlib.sha256(b"x").hexdigest()
    content["artifacts"].append({**content["artifacts"][0], "name": "int8", "file": "../../secret"})
    record.write_text(json.dumps(content))
    runs.clear()
    assert run(tmp_path / "stages").files.keys() == {"fp32"}
    assert runs == ["ship"]


def widened(candidate: Candidate, by: float) -> Candidate:
    """The same candidate with one number of its student changed, which its structure does not show."""
    after = copy.deepcopy(candidate)
    next(after.student.parameters()).data[0] += by
    return after


def test_without_an_origin_the_networks_themselves_say_whose_result_it_is(tmp_path: Path) -> None:
    pipeline, context = Pipeline(stages()), Context(tmp_path)
    mine = pipeline.run(first(), context).student.state_dict()
    Fake.runs.clear()
    again = pipeline.run(first(), context).student.state_dict()
    assert Fake.runs == []
    assert all(torch.equal(mine[key], again[key]) for key in mine)
    pipeline.run(widened(first(), 0.5), context)
    assert Fake.runs == ["shrink", "shake", "shake", "ship"]


def test_a_contract_of_another_range_is_another_origin(tmp_path: Path) -> None:
    Pipeline(stages()).run(first(), Context(tmp_path))
    Fake.runs.clear()
    wide = replace(first().contract.outputs[0], range=(-2.0, 2.0))
    other = replace(first(), contract=replace(first().contract, outputs=(wide,)))
    Pipeline(stages()).run(other, Context(tmp_path))
    assert len(Fake.runs) == 4
