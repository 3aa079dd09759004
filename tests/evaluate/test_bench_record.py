"""`edgegan.bench`: what is measured, what a row says, and what is refused before anything is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_latency import shorten

from edgegan.errors import BundleError, DataError, EdgeganError, InputError, StorageError
from edgegan.evaluate.bench import bench
from edgegan.evaluate.headline import headline_of
from edgegan.evaluate.record import BenchRecord, BenchRow
from edgegan.files import sha256, write_json
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.metrics.fid import Statistics
from edgegan.measure.statistics import Interval
from edgegan.runtime.bundle import Bundle, write_bundle
from edgegan.runtime.contract import Contract

Files = Callable[..., Path]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.fixture
def bundle(tmp_path: Path, generator_file: Files, contract: Contract) -> Bundle:
    """A bundle of three files, one of them for another processor."""
    names = {"fp32": 16, "int8": 6, "int8-arm64": 5}
    return write_bundle(
        tmp_path / "bundle",
        name="faces",
        contract=contract,
        models={name: generator_file(name, width=width) for name, width in names.items()},
        default="int8",
    )


def quick(*places: str | Path, **more: Any) -> BenchRecord:
    return bench(*places, **{"engines": ["onnxruntime"], "threads": 1, "seconds": 0.05, "samples": 8, **more})


def test_every_artifact_has_a_row_at_every_batch(bundle: Bundle, tmp_path: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {"quality": [], "latency": []}
    record = quick(
        bundle.folder,
        batches=(1, 4),
        out=tmp_path / "record.json",
        follow=lambda step: lambda done, total: seen[step].append((done, total)),
    )
    names = [(name, batch) for name in ("fp32", "int8") for batch in (1, 4)]
    assert [(row.name, row.batch) for row in record.rows] == [*names, ("int8-arm64", 1)]
    for row in record.rows[:4]:
        figures = {key: row.number(key) or 0.0 for key in row.measured}
        assert 0 < figures["latency_ms_p50"] <= figures["latency_ms_p90"] <= figures["latency_ms_p99"]
        assert figures["samples_per_s"] * 1e-3 * figures["latency_ms_p50"] < 1.5 * row.batch
        assert len(row.starts.ms) == len(row.starts.cpu_ms) == 2
        assert row.relative_to == f"fp32 on onnxruntime, batch {row.batch}"
        assert (row.engine_version or "").startswith("onnxruntime ")
        assert row.sha256 == sha256(bundle.folder / row.file)
        assert row.failed == {}
    full, small = record.rows[0], record.rows[2]
    assert full.interval("speedup") == Interval(1.0, 1.0, 1.0)
    assert (full.get("psnr_db"), len(small.starts.speedup)) == (None, 2)
    assert isinstance(small.get("psnr_db"), Interval)
    assert record.rows[2].get("psnr_db") == record.rows[3].get("psnr_db")
    assert "on arm64 CPUs, and this is x86_64" in (record.rows[4].unmeasured or "")
    assert record.rows[4].label == "int8-arm64"
    assert record.rows[4].measured == {}
    assert (record.protocol.threads, record.protocol.samples, record.protocol.seed) == (1, 8, 1)
    assert record.protocol.machine["cores"] > 0
    assert BenchRecord.read(tmp_path / "record.json") == record
    for steps in seen.values():
        assert steps[-1][0] == steps[-1][1]
        assert steps == sorted(steps)


def test_an_artifact_that_is_named_is_measured_whatever_it_is_for(bundle: Bundle) -> None:
    (row,) = quick(bundle.folder, artifacts=["int8-arm64"]).rows
    assert row.unmeasured is None
    assert (row.number("latency_ms_p50") or 0) > 0
    assert isinstance(row.get("psnr_db"), Interval)
    assert (row.get("speedup"), row.relative_to) == (None, None)


def test_bundles_of_one_name_are_told_apart_and_measured_against_the_first(bundle: Bundle) -> None:
    record = quick(bundle.folder, bundle.folder, artifacts=["fp32"])
    assert [row.bundle for row in record.rows] == ["faces", "faces-2"]
    assert {row.relative_to for row in record.rows} == {"faces fp32 on onnxruntime, batch 1"}
    assert [row.get("psnr_db") for row in record.rows] == [None, None]


def test_bare_files_are_measured_against_the_first_with_a_contract_in_a_file(
    bundle: Bundle, tmp_path: Path, generator_file: Files, contract: Contract, extractor_file: Files
) -> None:
    extractor, reference = OnnxExtractor(extractor_file()), tmp_path / "reference.npz"
    real = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32)
    Reference(Statistics.of(real), real, extractor.sha256, "random").save(reference)
    write_json(tmp_path / "contract.json", contract.to_dict())
    files = [generator_file("one"), generator_file("two", width=4)]
    record = quick(
        *files,
        contract=tmp_path / "contract.json",
        samples=60,
        features=tmp_path / "features.onnx",
        reference=reference,
    )
    assert [(row.bundle, row.name) for row in record.rows] == [("", "one"), ("", "two")]
    assert record.rows[1].relative_to == "one on onnxruntime, batch 1"
    assert isinstance(record.rows[1].get("psnr_db"), Interval)
    assert all(isinstance(row.get("fid_60"), Interval) for row in record.rows)
    again = quick(files[0], contract=bundle.folder / "manifest.json")
    assert [row.name for row in again.rows] == ["one"]
    assert again.headline.withheld


def test_a_file_that_does_not_run_has_its_reason_and_the_others_their_figures(
    tmp_path: Path, generator_file: Files, extractor_file: Files, contract: Contract
) -> None:
    write_json(tmp_path / "contract.json", contract.to_dict())
    record = quick(generator_file("good"), extractor_file(), contract=tmp_path / "contract.json")
    assert record.rows[0].failed == {}
    assert set(record.rows[1].failed) == {"quality", "latency"}
    assert not record.rows[1].ran


Refusal = tuple[type[EdgeganError], str, tuple[Any, ...], dict[str, Any]]


def refusals(bundle: Path, tmp_path: Path) -> Sequence[Refusal]:
    onnx = bundle / "model.fp32.onnx"
    (tmp_path / "contract.json").write_text('{"inputs": []}')
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "bad.onnx").write_text("no model")
    return [
        (InputError, "not an ONNX model", (tmp_path / "bad.onnx",), {"contract": bundle / "manifest.json"}),
        (InputError, "nothing to measure", (), {}),
        (BundleError, "no such folder", (tmp_path / "absent",), {}),
        (InputError, "No such file", (tmp_path / "a.onnx",), {"contract": bundle / "manifest.json"}),
        (InputError, "does not say how its inputs", (onnx,), {}),
        (InputError, "its own contract", (bundle,), {"contract": bundle / "manifest.json"}),
        (InputError, "contract", (onnx,), {"contract": tmp_path / "contract.json"}),
        (InputError, "contract cannot be read", (onnx,), {"contract": tmp_path / "notes.txt"}),
        (InputError, "no artifact 'int4'", (bundle,), {"artifacts": ["int4"]}),
        (InputError, "no engine 'tflite'", (bundle,), {"engines": ["tflite"]}),
        (InputError, "a batch must be", (bundle,), {"batches": (1, 0)}),
        (InputError, "no batch size", (bundle,), {"batches": ()}),
        (InputError, "number of threads", (bundle,), {"threads": 0}),
        (InputError, "number of samples", (bundle,), {"samples": 1}),
        (InputError, "for nan seconds", (bundle,), {"seconds": float("nan")}),
        (InputError, "needs a feature extractor", (bundle,), {"reference": tmp_path / "r.npz"}),
        (DataError, "extractor is absent", (bundle,), {"features": onnx.parent / "f.onnx", "reference": "r"}),
        (StorageError, "no record", (bundle,), {"out": tmp_path / "notes.txt"}),
    ]  # fmt: skip


def test_what_makes_no_sense_is_refused_before_anything_runs(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegan.evaluate.candidates.side_by_side", None)
    monkeypatch.setattr("edgegan.evaluate.judge.collect", None)
    for kind, words, places, options in refusals(bundle.folder, tmp_path):
        with pytest.raises(kind, match=words) as caught:
            quick(*places, **options)
        assert caught.value.next or "or more" in caught.value.what, words
    assert (tmp_path / "notes.txt").read_text() == "mine"


def made(name: str, speedup: Interval | None, **more: Any) -> BenchRow:
    figures = {"speedup": speedup, "latency_ms_p90": 5.0}
    return BenchRow(name, label=name, relative_to="fp32", measured=figures, batch=1, **more)


ONE, TWO = Interval(1.0, 1.0, 1.0), Interval(2.0, 1.9, 2.1)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([made("fp32", ONE), made("int8", TWO)], None),
        ([made("fp32", ONE), made("int8", TWO), made("fp16", None, failed={"latency": "gone"})], None),
        ([made("fp32", ONE), made("int8", TWO), made("b", None, withheld={"speedup": "busy"})], "b: busy"),
        ([made("fp32", None, withheld={"latency": "busy"}), made("int8", None)], "fp32: busy"),
        ([made("fp32", ONE), made("int8", Interval(1.1, 0.99, 1.2))], "surely faster than fp32"),
        ([made("fp32", ONE), made("int8", TWO, failed={"quality": "NaN"})], "could not be judged: NaN"),
        ([made("fp32", ONE)], "nothing to compare"),
    ],
)
def test_a_headline_stands_or_is_refused(rows: list[BenchRow], reason: str | None) -> None:
    told = headline_of([*rows, replace(rows[-1], batch=8, withheld={"latency": "busy"})], None)
    if reason is None:
        assert (told.row, told.relative_to, told.speedup, told.latency_ms_p90) == ("int8", "fp32", TWO, 5.0)
        assert headline_of(rows, "Measured on a busy machine").latency_ms_p90 is None
    else:
        assert reason in (told.withheld or "")
        assert told.speedup is None


def test_bench_needs_nothing_of_the_host() -> None:
    heavy = ("torch", "onnx", "pydantic", "yaml", "jinja2", "matplotlib")
    modules = "edgegan.evaluate.bench, edgegan.evaluate.compare, edgegan.cli.bench, edgegan.report.bench"
    code = f"import sys, {modules}; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
