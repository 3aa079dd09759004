"""Two records: which changes count, which are the machine's, and what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_bench import MACHINE, record, row

from edgegan.errors import DataError, InputError
from edgegan.evaluate.compare import Change, compare
from edgegan.evaluate.record import BenchRecord, BenchRow, Headline
from edgegan.measure.latency import Starts
from edgegan.measure.statistics import Interval


def speeds(changes: Sequence[Change]) -> dict[str, str]:
    return {change.label.partition(" ")[0]: change.speed for change in changes}


@pytest.mark.parametrize(
    ("ms", "verdict"), [(4.0, "faster"), (5.0, "noise"), (4.9, "noise"), (5.4, "noise"), (6.0, "slower")]
)
def test_a_change_counts_where_it_is_sure_and_large(ms: float, verdict: str) -> None:
    old = record(row("fp32", 10.0, sha256="old"), row("int8", 5.0))
    found = compare(old, record(row("fp32", 10.0, sha256="new"), row("int8", ms)))
    change = found.changes[1]
    assert (change.speed, change.by) == (verdict, "ms")
    assert change.ratio is not None
    assert change.ratio.value == pytest.approx(5.0 / ms)
    assert change.ratio.low < 5.0 / ms < change.ratio.high
    assert found.exit_code == (verdict == "slower")


def test_a_change_that_is_large_and_not_sure_is_noise() -> None:
    loose = Starts((4.0, 8.0, 5.0, 9.0, 4.0), (4.0, 8.0, 5.0, 9.0, 4.0))
    old = record(row("int8", 5.0, relative_to=None))
    assert compare(old, record(row("int8", 6.0, relative_to=None, starts=loose))).changes[0].speed == "noise"


def test_a_machine_that_is_slower_today_slows_no_row() -> None:
    old = record(row("fp32", 10.0), row("int8", 5.0), row("fp16", 10.0))
    new = record(row("fp32", 13.0), row("int8", 6.5, base_ms=13.0), row("fp16", 16.0, base_ms=13.0))
    found = compare(old, new)
    assert speeds(found.changes) == {"fp32": "noise", "int8": "noise", "fp16": "slower"}
    assert [change.by for change in found.changes] == ["ms", "speedup", "speedup"]
    assert compare(old, replace(new, created_by="edgegan 0.2.0")).changes[0].speed == "slower"


def test_time_on_the_wall_that_the_cpu_did_not_spend_is_not_told() -> None:
    old, new = row("int8", 5.0, relative_to=None), row("int8", 8.0, relative_to=None)
    waiting = replace(new, starts=replace(new.starts, cpu_ms=old.starts.cpu_ms))
    found = compare(record(old), record(waiting))
    assert found.changes[0].speed == "untold"
    assert "by wall time and" in (found.changes[0].why or "")
    assert found.exit_code == 3


def test_times_without_cpu_times_are_untold() -> None:
    told = row("int8", 5.0, relative_to=None)
    partly = replace(told, starts=replace(told.starts, cpu_ms=()))
    assert compare(record(told), record(partly)).changes[0].speed == "untold"


def test_what_was_withheld_is_untold_and_what_is_gone_is_lost() -> None:
    old = record(row("fp32", 10.0), row("int8", 5.0), row("fp16", 9.0), row("a", 1.0))
    busy = row("int8", 5.0, withheld={"latency": "other work interrupted 9 of its 10 calls"})
    found = compare(old, record(row("fp32", 10.0), busy, row("fp16", 9.0), row("a", 1.0), row("b", 1.0)))
    assert speeds(found.changes) == {
        "fp32": "noise", "int8": "untold", "fp16": "noise", "a": "noise", "b": "new"
    }  # fmt: skip
    assert "interrupted 9" in (found.changes[1].why or "")
    assert found.exit_code == 3
    failed = row("fp16", 9.0, failed={"latency": "the process was killed by signal 9"})
    found = compare(old, record(row("fp32", 10.0), row("int8", 5.0), failed))
    assert speeds(found.changes) == {"fp32": "noise", "int8": "noise", "fp16": "lost", "a": "lost"}
    assert found.changes[2].why == "the process was killed by signal 9"
    assert found.exit_code == 1


def test_a_file_that_was_not_measured_before_either_is_not_lost() -> None:
    away = row("int8-arm64", 1.0, unmeasured="it is for arm64")
    assert compare(record(row("fp32", 10.0), away), record(row("fp32", 10.0), away)).exit_code == 0


def of_quality(**measured: Any) -> BenchRow:
    return row("int8", 5.0, measured=measured, relative_to=None)


@pytest.mark.parametrize(
    ("key", "old", "new", "verdict", "code"),
    [
        ("psnr_db", (40.0, 39.5, 40.5), (41.0, 40.6, 41.4), "better", 0),
        ("psnr_db", (40.0, 39.5, 40.5), (39.0, 38.6, 39.4), "worse", 1),
        ("psnr_db", (40.0, 39.5, 40.5), (39.2, 38.8, 39.6), "same", 0),
        ("fid_10k", (0.28, 0.27, 0.29), (0.31, 0.30, 0.32), "worse", 1),
        ("fid_10k", (0.28, 0.27, 0.29), (0.25, 0.24, 0.26), "better", 0),
    ],
)
def test_quality_is_judged_by_its_intervals(
    key: str, old: tuple[float, ...], new: tuple[float, ...], verdict: str, code: int
) -> None:
    found = compare(record(of_quality(**{key: Interval(*old)})), record(of_quality(**{key: Interval(*new)})))
    assert found.changes[0].quality[key].verdict == verdict
    assert found.exit_code == code


def test_outputs_that_could_not_be_judged_any_more_are_lost() -> None:
    broken = replace(of_quality(), failed={"quality": "the output holds NaN"})
    found = compare(record(of_quality(psnr_db=Interval(40.0, 39.5, 40.5))), record(broken))
    assert found.changes[0].quality["psnr_db"].verdict == "lost"
    assert found.exit_code == 1


def test_quality_on_other_references_is_not_compared_and_said() -> None:
    old = record(of_quality(fid_1k=Interval(0.2, 0.1, 0.3)), reference="a.npz")
    found = compare(old, record(of_quality(fid_1k=Interval(0.9, 0.8, 1.0)), reference="b.npz"))
    assert found.changes[0].quality == {}
    assert "quality is not compared: reference was a.npz, and is b.npz" in found.notes


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"machine": {**MACHINE, "cpu": "Cortex-A76"}}, "cpu 'Zen' and 'Cortex-A76'"),
        ({"machine": {**MACHINE, "cores": 4}}, "cores 2 and 4"),
        ({"threads": 1}, "2 and 1 threads"),
    ],
)
def test_records_of_other_machines_are_refused(other: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        compare(record(row("fp32", 1.0)), record(row("fp32", 1.0), **other))


def test_other_versions_are_told_and_compared() -> None:
    newer = {**MACHINE, "packages": {"onnxruntime": "1.33.0"}}
    found = compare(record(row("fp32", 1.0)), record(row("fp32", 1.0), machine=newer))
    assert found.notes == ("onnxruntime: 1.32.0 before, 1.33.0 now",)


def test_a_bundle_that_was_renamed_is_compared_with_what_it_was() -> None:
    old = row("int8", 5.0, relative_to=None)
    found = compare(record(old), record(replace(old, bundle="people")))
    assert speeds(found.changes) == {"int8": "noise"}


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    told = Headline(None, "int8", "fp32", Interval(2.0, 1.9, 2.1), 5.5)
    written = replace(record(row("fp32", 10.0), row("int8", 5.0)), headline=told)
    written.write(tmp_path / "record.json")
    assert BenchRecord.read(tmp_path / "record.json") == written


ROWS = '{"kind": "edgegan bench", "schema": 1, "rows": [ROW], "protocol": {}, "headline": {}, "metrics": {}}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be an object"),
        ("{}", "no record of edgegan bench"),
        ('{"kind": "edgegan bench", "schema": 9}', "schema 9"),
        ('{"kind": "edgegan bench", "schema": 1}', "missing"),
        (ROWS.replace("ROW", "3"), r"rows\[0\]"),
        (ROWS.replace("ROW", '{"starts": {"ms": [-1]}}'), r"rows\[0\]\.starts"),
        (
            ROWS.replace("[ROW]", "[]").replace('s": {}}', 's": {"ssim": {"better": "", "needs": []}}}'),
            "needs",
        ),
    ],
)
def test_a_damaged_record_is_refused_with_the_place(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "record.json"
    file.write_text(content)
    with pytest.raises(DataError, match=words):
        BenchRecord.read(file)
    with pytest.raises(DataError, match="cannot be read"):
        compare(tmp_path / "absent.json", file)
