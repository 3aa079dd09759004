"""The rows of a run: which models are measured, what a row holds, what an interruption leaves."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quick_latency import shorten
from torch import Tensor, nn

from edgegan.compress import evaluate, structure
from edgegan.compress.cost import Cost, count
from edgegan.compress.evaluate import Evaluation, Model, models_of
from edgegan.compress.export import export_onnx, quiet
from edgegan.compress.stage import Candidate
from edgegan.errors import DataError
from edgegan.measure import quality
from edgegan.measure.features import Reference
from edgegan.measure.fid import Statistics
from edgegan.measure.latency import Latency
from edgegan.recipe import Recipe

RECIPE: dict[str, Any] = {
    "schema": 1,
    "name": "x",
    "model": {"callable": "torch.nn:Identity", "checkpoint": "x.pt"},
    "contract": {
        "inputs": [{"name": "z", "shape": [8]}],
        "outputs": [{"name": "image", "shape": [3, 12, 12]}],
    },
    "stages": [{"export": {}}],
}


class Generator(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(8, width)
        self.last = nn.Linear(width, 3 * 12 * 12)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.last(torch.relu(self.first(z)))).view(-1, 3, 12, 12)


class Pooled(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return (images.float() / 255).flatten(1)[:, ::43]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Candidate, Path]:
    """A full model and a smaller one, both exported, in one folder."""
    folder = tmp_path_factory.mktemp("made")
    contract = Recipe.of(RECIPE).contract
    torch.manual_seed(0)
    teacher, student = Generator(), Generator(6)
    export_onnx(teacher, contract, folder / "full.onnx")
    export_onnx(student, contract, folder / "model.fp32.onnx")
    candidate = Candidate(student, teacher, contract, files={"fp32": folder / "model.fp32.onnx"})
    return candidate, folder


def models(made: tuple[Candidate, Path]) -> list[Model]:
    candidate, folder = made
    cost = count(candidate.student, candidate.contract)
    return [
        Model(
            "full",
            "full model",
            None,
            folder / "full.onnx",
            "fp32",
            count(candidate.teacher, candidate.contract),
        ),
        Model("fp32", "FP32", None, folder / "model.fp32.onnx", "fp32", cost),
    ]


@pytest.fixture
def with_quality(tmp_path: Path) -> Recipe:
    """A recipe with an extractor of its own and a reference."""
    path = tmp_path / "features.onnx"
    with quiet():
        torch.onnx.export(
            Pooled().eval(),
            (torch.zeros(2, 12, 12, 3, dtype=torch.uint8),),
            path,
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            verbose=False,
        )
    features = np.random.default_rng(0).random((200, 11)).astype(np.float32)
    extractor = evaluate.extractor_of(
        Recipe.of({**RECIPE, "quality": {"features": "features.onnx"}}, tmp_path)
    )
    assert extractor is not None
    Reference(Statistics.of(features), features, extractor.sha256, "random").save(tmp_path / "reference.npz")
    quality = {"features": "features.onnx", "reference": "reference.npz", "samples": 100}
    return Recipe.of({**RECIPE, "quality": quality}, tmp_path)


def test_without_quality_rows_hold_costs_and_paired_metrics(
    made: tuple[Candidate, Path], tmp_path: Path
) -> None:
    figures = Evaluation(Recipe.of(RECIPE), models(made), tmp_path).run()
    full, small = figures["rows"]
    assert figures["protocol"]["features"] is None
    assert figures["protocol"]["samples"] == 1000
    assert (full["params"], full["macs"]) == (8 * 16 + 16 + 17 * 432, 8 * 16 + 16 * 432)
    assert small["macs"] == 8 * 6 + 6 * 432
    assert small["file_bytes"] == (made[1] / "model.fp32.onnx").stat().st_size
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
    made: tuple[Candidate, Path], tmp_path: Path, with_quality: Recipe
) -> None:
    figures = Evaluation(with_quality, models(made), tmp_path / "run").run()
    assert figures["protocol"]["features"].startswith("features.onnx ")
    assert figures["protocol"]["reference"].endswith("(200 images)")
    for row in figures["rows"]:
        assert {"fid_100", "kid_100", "precision_100", "recall_100"} <= set(row)
        assert row["fid_100"]["value"] > 0


def test_stages_choose_by_fid_on_latents_that_the_report_does_not_use(
    made: tuple[Candidate, Path], tmp_path: Path, with_quality: Recipe
) -> None:
    assert evaluate.file_fid(Recipe.of(RECIPE)) is None
    measure = evaluate.file_fid(with_quality)
    assert measure is not None
    rows = Evaluation(with_quality, models(made), tmp_path / "run").run()["rows"]
    for model, row in zip(models(made), rows):
        chosen_by = measure(model.path, 100, True)
        assert chosen_by == measure(model.path, 100, False)
        assert chosen_by != row["fid_100"]["value"]
        assert chosen_by == pytest.approx(row["fid_100"]["value"], rel=0.2)


def test_samples_are_of_equal_latents(made: tuple[Candidate, Path], tmp_path: Path) -> None:
    Evaluation(Recipe.of(RECIPE), models(made), tmp_path).run()
    z = torch.from_numpy(made[0].contract.sample(1000, evaluate.SEED)["z"])
    for name, module in (("full", made[0].teacher), ("fp32", made[0].student)):
        images = np.load(tmp_path / "samples" / f"{name}.npz")["images"]
        assert images.shape == (64, 12, 12, 3)
        expected = module(z[:64]).detach().permute(0, 2, 3, 1).numpy() * 127.5 + 127.5
        assert np.abs(images - expected).max() <= 0.51


def test_an_evaluation_is_kept_row_by_row(
    made: tuple[Candidate, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[str] = []
    collect: Callable[..., Any] = quality.collect

    def counting(path: Path, *rest: Any, **more: Any) -> Any:
        if (
            collected.count(path.name) == 0
            and path.name == "model.fp32.onnx"
            and not (tmp_path / "go").exists()
        ):
            raise KeyboardInterrupt
        collected.append(path.name)
        return collect(path, *rest, **more)

    monkeypatch.setattr(quality, "collect", counting)
    with pytest.raises(KeyboardInterrupt):
        Evaluation(Recipe.of(RECIPE), models(made), tmp_path).run()
    (tmp_path / "go").touch()
    first = Evaluation(Recipe.of(RECIPE), models(made), tmp_path).run()
    assert collected == ["full.onnx", "model.fp32.onnx", "full.onnx"]
    collected.clear()
    assert Evaluation(Recipe.of(RECIPE), models(made), tmp_path).run()["rows"] == first["rows"]
    assert collected == []


def test_other_protocols_and_other_files_are_measured_anew(
    made: tuple[Candidate, Path], tmp_path: Path, with_quality: Recipe
) -> None:
    run = tmp_path / "run"
    Evaluation(with_quality, models(made), run).run()
    before = set((run / "evaluation").glob("quality-*.json"))
    Evaluation(Recipe.of(RECIPE), models(made), run).run()
    after = set((run / "evaluation").glob("quality-*.json"))
    assert not before & after
    assert len(after) == 2


def test_a_model_that_cannot_run_has_its_reasons_and_the_others_their_figures(
    made: tuple[Candidate, Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    bad = Model("int8", "INT8", None, tmp_path / "bad.onnx", "int8", Cost(1, 1))
    rows = Evaluation(Recipe.of(RECIPE), [*models(made), bad], tmp_path).run()["rows"]
    assert set(rows[2]["failed"]) == {"quality", "latency"}
    assert all(rows[2]["failed"].values())
    assert rows[1]["failed"] == {}
    assert not (tmp_path / "samples" / "int8.npz").exists()


def test_an_extractor_that_does_not_fit_the_reference_is_refused(
    made: tuple[Candidate, Path], tmp_path: Path, with_quality: Recipe
) -> None:
    file = tmp_path / "reference.npz"
    arrays = dict(np.load(file))
    np.savez(file, **{**arrays, "extractor": np.str_("0" * 64)})
    with pytest.raises(DataError, match="another extractor"):
        Evaluation(with_quality, models(made), tmp_path)


def test_progress_counts_the_samples_of_all_models(made: tuple[Candidate, Path], tmp_path: Path) -> None:
    steps: dict[str, list[tuple[int, int]]] = {"quality": [], "latency": []}
    Evaluation(Recipe.of(RECIPE), models(made), tmp_path).run(
        lambda step: lambda done, total: steps[step].append((done, total))
    )
    assert steps["quality"][-1] == (2000, 2000)
    assert steps["quality"] == sorted(steps["quality"])
    done, total = steps["latency"][-1]
    assert done == total


def resized(teacher: nn.Module, width: int) -> nn.Module:
    student = copy.deepcopy(teacher)
    structure.resize(
        student,
        {"first.weight": [width, 8], "first.bias": [width], "last.weight": [432, width], "last.bias": [432]},
    )
    return student


def test_each_stage_that_changed_the_student_has_a_row_but_the_exported_one(
    made: tuple[Candidate, Path], tmp_path: Path
) -> None:
    candidate, _ = made
    pruned = resized(candidate.teacher, 10)
    distilled = Generator(10)
    after = [
        ("prune", "a", pruned),
        ("distill", "b", distilled),
        ("quantize", "c", distilled),
        ("export", "d", distilled),
    ]
    int8 = candidate.files["fp32"]
    final = replace(candidate, student=distilled, files={"int8": int8, **candidate.files})
    rows = models_of(candidate.teacher, after, final, tmp_path, origin="o")
    assert [(row.name, row.label, row.stage, row.path.name) for row in rows] == [
        ("full", "full model", None, "full.onnx"),
        ("prune", "after prune", "prune", "prune.onnx"),
        ("fp32", "FP32 (after distill)", None, "model.fp32.onnx"),
        ("int8", "INT8", None, "model.fp32.onnx"),
    ]
    assert rows[1].cost == count(pruned, candidate.contract)
    unexported = replace(final, files={})
    rows = models_of(candidate.teacher, after, unexported, tmp_path, origin="o")
    assert [row.name for row in rows] == ["full", "prune", "distill"]


def test_models_are_exported_once(
    made: tuple[Candidate, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, _ = made
    exported: list[str] = []
    monkeypatch.setattr(
        evaluate, "export_onnx", lambda module, contract, path: (exported.append(path.name), path.touch())
    )
    for origin in ("o", "o", "p"):
        models_of(candidate.teacher, [], candidate, tmp_path, origin=origin)
    assert exported == ["full.onnx", "full.onnx"]


@pytest.mark.parametrize(
    ("machine", "measured", "reasons"),
    [
        ("x86_64", "int8", {"int8-arm64": "on arm64 CPUs, and this is x86_64", "int8-tensorrt": "TensorRT"}),
        ("aarch64", "int8-arm64", {"int8": "on x64 CPUs, and this is aarch64", "int8-tensorrt": "TensorRT"}),
    ],
)
def test_every_file_has_a_row_with_figures_or_the_reason_why_not(
    made: tuple[Candidate, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    measured: str,
    reasons: dict[str, str],
) -> None:
    monkeypatch.setattr(evaluate.platform, "machine", lambda: machine)
    candidate, folder = made
    names = ("int8", "int8-arm64", "int8-tensorrt", "fp32")
    final = replace(candidate, files=dict.fromkeys(names, folder / "model.fp32.onnx"))
    found = models_of(candidate.teacher, [], final, tmp_path / "evaluation", origin="x")
    assert [model.name for model in found] == ["full", "fp32", measured, *reasons]
    rows = Evaluation(Recipe.of(RECIPE), found, tmp_path).run()["rows"]
    assert [row["name"] for row in rows] == [model.name for model in found]
    for row in rows[:3]:
        assert row["latency_ms_p50"] > 0
        assert "unmeasured" not in row
    for row in rows[3:]:
        assert reasons[row["name"]] in row["unmeasured"]
        assert row["file_bytes"] > 0
        assert "latency_ms_p50" not in row
        assert row["failed"] == {}


def test_an_int8_file_for_another_processor_that_stands_alone_is_measured(
    made: tuple[Candidate, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate.platform, "machine", lambda: "x86_64")
    candidate, folder = made
    final = replace(candidate, files={"int8-arm64": folder / "model.fp32.onnx"})
    found = models_of(candidate.teacher, [], final, tmp_path, origin="x")
    assert [(model.name, model.unmeasured) for model in found] == [("full", None), ("int8-arm64", None)]


def test_a_withheld_latency_is_measured_again_and_a_good_one_is_kept(
    made: tuple[Candidate, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    answers = [
        Latency(withheld={"latency": "other work interrupted 9 of its 10 calls"}, disturbed=9, iterations=1),
        Latency(p50=1.0, p90=1.0, p99=1.0, cv=0.3, drift=0.0, iterations=200),
    ]

    def measured(files: dict[str, Path], *_: Any, seconds: float, **__: Any) -> dict[str, Latency]:
        asked.append(seconds)
        return dict.fromkeys(files, answers[min(len(asked), len(answers)) - 1])

    monkeypatch.setattr(evaluate, "measure_latency", measured)
    recipe = Recipe.of({**RECIPE, "latency": {"seconds": 7}})
    first = Evaluation(recipe, models(made), tmp_path).run()
    assert "interrupted 9" in first["rows"][1]["withheld"]["latency"]
    assert first["rows"][1]["latency_ms_p50"] is None
    assert first["protocol"]["noise"].startswith("Measured on a busy machine: 90% of all calls")
    again = Evaluation(recipe, models(made), tmp_path).run()
    assert again["rows"][1]["withheld"] == {}
    assert again["rows"][1]["latency_ms_p50"] == 1.0
    assert "times vary by up to 30%" in again["protocol"]["noise"]
    assert Evaluation(recipe, models(made), tmp_path).run() == again
    assert asked == [7.0, 7.0]
    assert again["protocol"]["latency_seconds"] == 7.0
