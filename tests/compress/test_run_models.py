"""Which models of a run are measured, and what is told of those that cannot be here."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress import run_models, structure
from edgegan.compress.cost import count
from edgegan.compress.export import export_onnx
from edgegan.compress.run_models import models_of
from edgegan.compress.stage import Candidate
from edgegan.runtime.artifact import Artifact, known
from edgegan.runtime.contract import Contract, Input, Output

CONTRACT = Contract((Input("z", (8,)),), (Output("image", (3, 12, 12)),))


class Generator(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(8, width)
        self.last = nn.Linear(width, 3 * 12 * 12)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.last(torch.relu(self.first(z)))).view(-1, 3, 12, 12)


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """A full model and a smaller one, which is exported."""
    file = tmp_path_factory.mktemp("made") / "model.fp32.onnx"
    torch.manual_seed(0)
    teacher, student = Generator(), Generator(6)
    export_onnx(student, CONTRACT, file)
    return Candidate(student, teacher, CONTRACT, artifacts=(known("fp32", str(file)),))


def resized(teacher: nn.Module, width: int) -> nn.Module:
    student = copy.deepcopy(teacher)
    narrow = {"first.weight": [width, 8], "first.bias": [width], "last.weight": [432, width]}
    structure.resize(student, {**structure.shapes(student), **narrow})
    return student


@pytest.fixture(autouse=True)
def _on_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_models, "measuring_engines", lambda: ["onnxruntime"])


def test_each_stage_that_changed_the_student_has_a_row_but_the_exported_one(
    candidate: Candidate, tmp_path: Path
) -> None:
    pruned = resized(candidate.teacher, 10)
    distilled = Generator(10)
    after = [
        ("prune", "a", pruned),
        ("distill", "b", distilled),
        ("quantize", "c", distilled),
        ("export", "d", distilled),
    ]
    int8 = known("int8", str(candidate.files["fp32"]))
    final = replace(candidate, student=distilled, artifacts=(int8, *candidate.artifacts))
    rows = models_of(candidate.teacher, after, final, tmp_path, origin="o")
    assert [(row.name, row.label, row.stage, row.path.name) for row in rows] == [
        ("full", "full model", None, "full.onnx"),
        ("prune", "after prune", "prune", "prune.onnx"),
        ("fp32", "FP32 (after distill)", None, "model.fp32.onnx"),
        ("int8", "INT8", None, "model.fp32.onnx"),
    ]
    cost = count(pruned, candidate.contract)
    assert (rows[1].params, rows[1].macs) == (cost.params, cost.macs)
    unexported = replace(final, artifacts=())
    rows = models_of(candidate.teacher, after, unexported, tmp_path, origin="o")
    assert [row.name for row in rows] == ["full", "prune", "distill"]


def test_models_are_exported_once(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[str] = []
    monkeypatch.setattr(
        run_models, "export_onnx", lambda module, contract, path: (exported.append(path.name), path.touch())
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
    candidate: Candidate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    measured: str,
    reasons: dict[str, str],
) -> None:
    monkeypatch.setattr(run_models.platform, "machine", lambda: machine)
    names = ("int8", "int8-arm64", "int8-tensorrt", "fp32")
    final = replace(candidate, artifacts=tuple(known(name, candidate.artifacts[0].file) for name in names))
    found = models_of(candidate.teacher, [], final, tmp_path / "evaluation", origin="x")
    assert [model.name for model in found] == ["full", "fp32", measured, *reasons]
    for model in found[3:]:
        assert reasons[model.name] in (model.unmeasured or "")
    assert not any(model.unmeasured for model in found[:3])


def test_an_int8_file_for_another_processor_that_stands_alone_is_measured(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_models.platform, "machine", lambda: "x86_64")
    final = replace(candidate, artifacts=(known("int8-arm64", candidate.artifacts[0].file),))
    found = models_of(candidate.teacher, [], final, tmp_path, origin="x")
    assert [(model.name, model.unmeasured) for model in found] == [("full", None), ("int8-arm64", None)]


def test_engines_beside_the_first_have_rows_of_what_they_are_to_run(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_models, "measuring_engines", lambda: ["onnxruntime", "openvino"])
    monkeypatch.setattr(run_models.platform, "machine", lambda: "x86_64")
    file = candidate.artifacts[0].file
    files = [known(name, file) for name in ("fp32", "fp16", "int8", "int8-tensorrt")]
    own = Artifact("int8-openvino", file, "int8", "openvino", "x86_64")
    final = replace(candidate, artifacts=(*files, own))
    found = models_of(candidate.teacher, [("prune", "a", candidate.student)], final, tmp_path, origin="x")
    assert [(model.name, model.label, model.engine) for model in found if not model.unmeasured] == [
        ("full", "full model", "onnxruntime"),
        ("full-openvino", "full model on OpenVINO", "openvino"),
        ("fp32", "FP32 (after prune)", "onnxruntime"),
        ("fp16", "FP16", "onnxruntime"),
        ("int8", "INT8", "onnxruntime"),
        ("fp32-openvino", "FP32 (after prune) on OpenVINO", "openvino"),
        ("int8-openvino", "INT8-OPENVINO", "openvino"),
    ]
    assert [model.name for model in found if model.unmeasured] == ["int8-tensorrt"]


def test_where_an_engine_is_not_installed_its_file_has_a_row_that_says_how_to_get_it(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    own = Artifact("int8-openvino", candidate.artifacts[0].file, "int8", "openvino", "x86_64")
    final = replace(candidate, artifacts=(own, *candidate.artifacts))
    (row,) = [
        model for model in models_of(candidate.teacher, [], final, tmp_path, origin="x") if model.unmeasured
    ]
    assert row.name == "int8-openvino"
    assert "it is for OpenVINO on x64 CPUs" in (row.unmeasured or "")
    assert "pip install 'edgegan[openvino]'" in (row.unmeasured or "")
