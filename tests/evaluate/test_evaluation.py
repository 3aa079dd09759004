"""The rows of a run: what a row holds, what an interruption leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_latency import shorten

from edgegan.evaluate import evaluation, judge
from edgegan.evaluate.evaluation import Evaluation, Model
from edgegan.evaluate.judge import SEED
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.latency import Latency
from edgegan.measure.metrics.fid import Statistics
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture
def models(generator_file: Callable[..., Path]) -> list[Model]:
    """A full model and a smaller one."""
    full, small = generator_file("full"), generator_file("model.fp32", width=6)
    return [
        Model("full", "full model", None, Artifact.of(full, "full"), params=300, macs=200),
        Model("fp32", "FP32", None, Artifact.of(small, "fp32"), params=30, macs=20),
    ]


@pytest.fixture
def with_quality(tmp_path: Path, extractor_file: Callable[..., Path]) -> dict[str, Any]:
    """An extractor and a reference, as an evaluation takes them."""
    extractor, reference = OnnxExtractor(extractor_file()), tmp_path / "reference.npz"
    features = np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32)
    Reference(Statistics.of(features), features, extractor.sha256, "random").save(reference)
    return {"extractor": extractor, "reference": reference, "samples": 100}


def test_without_quality_rows_hold_costs_and_paired_metrics(
    models: list[Model], contract: Contract, tmp_path: Path
) -> None:
    figures = Evaluation(models, contract, tmp_path).run().to_dict()
    full, small = figures["rows"]
    assert figures["protocol"]["features"] is None
    assert figures["protocol"]["samples"] == 1000
    assert (full["params"], full["macs"]) == (300, 200)
    assert (small["params"], small["macs"]) == (30, 20)
    assert small["file_bytes"] == models[1].path.stat().st_size
    assert small["psnr_db"]["low"] <= small["psnr_db"]["value"] <= small["psnr_db"]["high"]
    assert "psnr_db" not in full
    assert not any(key.startswith("fid") for key in small)
    assert full["failed"] == small["failed"] == {}
    for row in (full, small):
        assert 0 < row["latency_ms_p50"] <= row["latency_ms_p90"] <= row["latency_ms_p99"]
        assert row["load_ms"] > 0
        assert row["peak_rss_mib"] > 1
    assert full["speedup"]["value"] == 1.0
    json.dumps(figures, allow_nan=False)


def test_with_quality_rows_hold_the_files_own_fid(
    models: list[Model], contract: Contract, tmp_path: Path, with_quality: dict[str, Any]
) -> None:
    figures = Evaluation(models, contract, tmp_path / "run", **with_quality).run().to_dict()
    assert figures["protocol"]["features"].startswith("features.onnx ")
    assert figures["protocol"]["reference"].endswith("(200 images)")
    for row in figures["rows"]:
        assert {"fid_100", "kid_100", "precision_100", "recall_100"} <= set(row)
        assert row["fid_100"]["value"] > 0


def test_samples_are_of_equal_latents(models: list[Model], contract: Contract, tmp_path: Path) -> None:
    Evaluation(models, contract, tmp_path).run()
    inputs = contract.sample(1000, SEED)
    for model in models:
        images = np.load(tmp_path / "samples" / f"{model.name}.npz")["images"]
        assert images.shape == (64, 16, 16, 3)
        with OnnxRuntimeEngine(model.path) as engine:
            expected = engine(inputs)["image"][:64].transpose(0, 2, 3, 1) * 127.5 + 127.5
        assert np.abs(images - expected).max() <= 0.51


def test_an_evaluation_is_kept_row_by_row(
    models: list[Model], contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[str] = []
    collect: Callable[..., Any] = judge.collect

    def counting(file: Path | Artifact, *rest: Any, **more: Any) -> Any:
        path = Path(file.file if isinstance(file, Artifact) else file)
        if (
            collected.count(path.name) == 0
            and path.name == "model.fp32.onnx"
            and not (tmp_path / "go").exists()
        ):
            raise KeyboardInterrupt
        collected.append(path.name)
        return collect(file, *rest, **more)

    monkeypatch.setattr(judge, "collect", counting)
    with pytest.raises(KeyboardInterrupt):
        Evaluation(models, contract, tmp_path).run().to_dict()
    (tmp_path / "go").touch()
    first = Evaluation(models, contract, tmp_path).run().to_dict()
    assert collected == ["full.onnx", "model.fp32.onnx", "full.onnx"]
    collected.clear()
    assert Evaluation(models, contract, tmp_path).run().to_dict()["rows"] == first["rows"]
    assert collected == []


def test_other_protocols_and_other_files_are_measured_anew(
    models: list[Model], contract: Contract, tmp_path: Path, with_quality: dict[str, Any]
) -> None:
    run = tmp_path / "run"
    Evaluation(models, contract, run, **with_quality).run().to_dict()
    before = set((run / "evaluation").glob("quality-*.json"))
    Evaluation(models, contract, run).run().to_dict()
    after = set((run / "evaluation").glob("quality-*.json"))
    assert not before & after
    assert len(after) == 2


def test_a_model_that_cannot_run_has_its_reasons_and_the_others_their_figures(
    models: list[Model], contract: Contract, tmp_path: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    bad = Model("int8", "INT8", None, Artifact("int8", str(tmp_path / "bad.onnx"), "int8"), 1, 1)
    elsewhere = replace(models[1], name="int8-arm64", unmeasured="it is for arm64")
    rows = Evaluation([*models, bad, elsewhere], contract, tmp_path).run().to_dict()["rows"]
    assert set(rows[2]["failed"]) == {"quality", "latency"}
    assert all(rows[2]["failed"].values())
    assert rows[1]["failed"] == {}
    assert not (tmp_path / "samples" / "int8.npz").exists()
    assert [row["name"] for row in rows] == ["full", "fp32", "int8", "int8-arm64"]
    assert rows[3]["unmeasured"] == "it is for arm64"
    assert rows[3]["file_bytes"] > 0
    assert rows[3]["failed"] == {}
    assert "latency_ms_p50" not in rows[3]
    assert rows[1]["unmeasured"] is None


def test_progress_counts_the_samples_of_all_models(
    models: list[Model], contract: Contract, tmp_path: Path
) -> None:
    steps: dict[str, list[tuple[int, int]]] = {"quality": [], "latency": []}
    Evaluation(models, contract, tmp_path).run(
        lambda step: lambda done, total: steps[step].append((done, total))
    )
    assert steps["quality"][-1] == (2000, 2000)
    assert steps["quality"] == sorted(steps["quality"])
    done, total = steps["latency"][-1]
    assert done == total


def test_a_withheld_latency_is_measured_again_and_a_good_one_is_kept(
    models: list[Model], contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    answers = [
        Latency(withheld={"latency": "other work interrupted 9 of its 10 calls"}, disturbed=9, iterations=1),
        Latency(p50=1.0, p90=1.0, p99=1.0, cv=0.3, drift=0.0, iterations=200),
    ]

    def measured(files: dict[str, Path], *_: Any, seconds: float, **__: Any) -> dict[str, Latency]:
        asked.append(seconds)
        return dict.fromkeys(files, answers[min(len(asked), len(answers)) - 1])

    monkeypatch.setattr(evaluation, "side_by_side", measured)
    first = Evaluation(models, contract, tmp_path, seconds=7).run().to_dict()
    assert "interrupted 9" in first["rows"][1]["withheld"]["latency"]
    assert first["rows"][1]["latency_ms_p50"] is None
    assert first["protocol"]["noise"].startswith("Measured on a busy machine: 90% of all calls")
    again = Evaluation(models, contract, tmp_path, seconds=7).run().to_dict()
    assert again["rows"][1]["withheld"] == {}
    assert again["rows"][1]["latency_ms_p50"] == 1.0
    assert "times vary by up to 30%" in again["protocol"]["noise"]
    assert Evaluation(models, contract, tmp_path, seconds=7).run().to_dict() == again
    assert asked == [7.0, 7.0]
    assert again["protocol"]["latency_seconds"] == 7.0
