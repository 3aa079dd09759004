"""`edgegan bench`: what it prints, writes and exits with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from made_bench import MACHINE, record, row
from quick_latency import shorten
from small_models import contract, generator_file  # noqa: F401

from edgegan.cli import main
from edgegan.errors import StorageError
from edgegan.evaluate.record import BenchRecord
from edgegan.files import write_json
from edgegan.runtime.contract import Contract


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code and what it printed."""
    code = 0
    try:
        main(["bench", *map(str, words)])
    except SystemExit as caught:
        code = int(caught.code or 0)
    return code, *capsys.readouterr()


@pytest.fixture
def files(
    tmp_path: Path,
    generator_file: Callable[..., Path],  # noqa: F811
    contract: Contract,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str | Path, ...]:
    """Words that name two small files and how little of them is measured."""
    shorten(monkeypatch)
    write_json(tmp_path / "contract.json", contract.to_dict())
    two = (generator_file("wide"), generator_file("narrow", width=4))
    few = ("--seconds", "0.05", "--samples", "8", "--threads", "1", "--engine", "onnxruntime")
    return (*two, "--contract", tmp_path / "contract.json", *few)


def test_it_prints_a_table_and_writes_a_record_that_is_json_with_json(
    files: tuple[str | Path, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "record.json"
    code, printed, _ = run(capsys, *files, "--out", out)
    assert code == 0
    assert "narrow on onnxruntime, batch 1" in printed
    assert "PSNR" in printed
    assert "\x1b" not in printed
    assert "wide on onnxruntime, batch 1" in printed.splitlines()[-2] or "no headline" in printed
    assert [row.name for row in BenchRecord.read(out).rows] == ["wide", "narrow"]
    code, printed, _ = run(capsys, *files, "--batch", "1,2", "--out", out, "--json")
    assert (code, json.loads(printed)) == (0, json.loads(out.read_text()))
    assert [row.batch for row in BenchRecord.read(out).rows] == [1, 2, 1, 2]


def test_what_was_measured_is_shown_where_the_record_cannot_be_written(
    files: tuple[str | Path, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: BenchRecord, path: Path) -> None:
        raise StorageError("cannot write: No space left on device", where=str(path), next="free some space")

    monkeypatch.setattr(BenchRecord, "write", full)
    code, printed, said = run(capsys, *files, "--out", tmp_path / "record.json")
    assert code == 2
    assert "narrow on onnxruntime, batch 1" in printed
    assert "record:" not in printed
    assert "No space left on device" in said
    assert not (tmp_path / "record.json").exists()


def test_a_record_that_cannot_be_written_is_refused_before_anything_is_measured(
    files: tuple[str | Path, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgegan.evaluate.bench.bench", lambda *_, **__: pytest.fail("it was measured"))
    for out in (tmp_path / ("x" * 256), tmp_path / "record.json" / "r.json"):
        (tmp_path / "record.json").write_text("not ours")
        code, _, said = run(capsys, *files, "--out", out)
        assert (code, "cannot write" in said) == (2, True)
        assert (tmp_path / "record.json").read_text() == "not ours"


@pytest.mark.parametrize(
    ("new", "code", "words"),
    [
        ([row("fp32", 10.0), row("int8", 5.0)], 0, "noise"),
        ([row("fp32", 10.0), row("int8", 4.0)], 0, "faster"),
        ([row("fp32", 10.0), row("int8", 6.0)], 1, "slower"),
        ([row("fp32", 10.0)], 1, "lost"),
        ([row("fp32", 10.0), row("int8", 5.0, withheld={"latency": "a busy machine"})], 3, "a busy machine"),
    ],
)
def test_two_records_are_compared_with_exit_codes_for_ci(
    new: list, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = tmp_path / "old.json", tmp_path / "new.json"
    record(row("fp32", 10.0), row("int8", 5.0)).write(paths[0])
    record(*new).write(paths[1])
    found, printed, _ = run(capsys, "--compare", *paths)
    assert (found, words in printed) == (code, True)
    found, printed, _ = run(capsys, "--compare", *paths, "--json")
    assert (found, json.loads(printed)["exit_code"]) == (code, code)


def test_bad_input_is_refused_with_2_and_says_what_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, other = tmp_path / "old.json", tmp_path / "other.json"
    record(row("fp32", 10.0)).write(old)
    record(row("fp32", 10.0), machine={**MACHINE, "cpu": "Cortex-A76"}).write(other)
    for words, said in {
        (): "there is nothing to measure",
        (tmp_path / "gone",): "no such folder",
        (tmp_path, "--batch", "0"): "a batch must be 1 or more",
        (tmp_path, "--batch", "one"): "--batch takes whole numbers, not 'one'",
        (tmp_path, "--engine", "tflite"): "no engine 'tflite'",
        ("--compare", old, other): "different machines",
        ("--compare", old, tmp_path / "gone.json"): "the record cannot be read",
        (tmp_path, "--compare", old, old): "--compare reads two records",
    }.items():
        code, printed, error = run(capsys, *words)
        assert (code, printed.strip()) == (2, "")
        assert said in error
        assert len(error.splitlines()) <= 6
