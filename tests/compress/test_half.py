"""Float16 files: what overflows stays in float32, and what crashes its engine is mended or left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.transformers import float16
from torch import Tensor, nn

from edgegan.compress import export as exporting
from edgegan.compress import onnx_graph, written
from edgegan.compress.agreement import agreement
from edgegan.compress.export import Export, ExportSettings, to_onnx
from edgegan.compress.half import in_float32, overflowing, to_half
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import ModelError
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.engines.registry import open_artifact
from edgegan.runtime.engines.trial import fault

PICTURE = Contract((Input("x", (3, 8, 8)),), (Output("y", (3, 8, 8)),))


class Loud(nn.Module):
    """Reaches past 65,504 before a norm, or not."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 3, 1)
        self.norm = nn.InstanceNorm2d(8)
        self.b.weight.data *= gain

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.c(torch.relu(self.norm(self.b(torch.relu(self.a(x)))))))


@pytest.mark.parametrize(("gain", "kept"), [(1.0, set()), (2e5, {"Conv", "InstanceNormalization"})])
def test_what_overflows_stays_in_float32(gain: float, kept: set[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = to_onnx(Loud(gain).eval(), PICTURE)
    half = to_half(model, PICTURE)
    kinds = {node.name: node.op_type for node in half.graph.node}
    assert {kinds[name] for name in in_float32(half)} == kept
    assert len(overflowing(model, PICTURE)) == len(kept)
    onnx_graph.save(half, tmp_path / "half.onnx")
    assert fault(tmp_path / "half.onnx", PICTURE.sample(2, 0)) is None
    with open_artifact(Artifact.of(tmp_path / "half.onnx", engine="tensorrt")) as as_it_stands:
        assert np.isfinite(as_it_stands(PICTURE.sample(2, 0))[PICTURE.outputs[0].name]).all()
    casts = [node.op_type for node in half.graph.node].count("Cast")
    assert casts == (4 if kept else 2), "none between two operators that stay"


def test_operators_that_onnx_has_in_float32_alone_stay() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.CELU(), nn.Conv2d(8, 3, 1), nn.Tanh()).eval()
    half = to_half(to_onnx(module, PICTURE), PICTURE)
    kinds = {node.name: node.op_type for node in half.graph.node}
    assert [kinds[name] for name in in_float32(half)] == ["Celu"]


def test_the_record_says_what_stays(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Loud(2e5).eval()
    record = Export().run(Candidate(module, module, PICTURE), Context(tmp_path)).lineage[-1]
    assert len(record.changed["kept_in_float32"]["fp16"]) == 2
    assert record.changed["left_out"] == {}
    assert record.proof["fp16"]["psnr_db"] > 60


def test_a_file_that_ends_its_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    onnx_graph.save(to_onnx(Loud(1.0).eval(), PICTURE), path)
    assert fault(path, PICTURE.sample(1, 0)) is None
    assert "does not come to an end" in (fault(path, PICTURE.sample(1, 0), seconds=0.01) or "")
    assert "does not run" in (fault(path, {"other": np.zeros(3, np.float32)}) or "")
    path.write_bytes(b"no model")
    assert "cannot load the model" in (fault(path, PICTURE.sample(1, 0)) or "")


def crashes_with(kinds: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let float16 operators of these kinds crash their engine."""

    def judge(path: Path, *_: object, **__: object) -> str | None:
        model = onnx.load(path)
        whole = set(in_float32(model))
        types = {tensor.data_type for tensor in model.graph.initializer}
        bad = any(node.op_type in kinds and node.name not in whole for node in model.graph.node)
        return "crashes ONNX Runtime (SIGSEGV)" if bad and onnx.TensorProto.FLOAT16 in types else None

    monkeypatch.setattr(written, "fault", judge)


def test_a_float16_file_that_crashes_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashes_with({"InstanceNormalization"}, monkeypatch)
    module = Loud(1.0).eval()
    record = Export().run(Candidate(module, module, PICTURE), Context(tmp_path)).lineage[-1]
    assert len(record.changed["kept_in_float32"]["fp16"]) == 1


def test_one_that_cannot_be_mended_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "fault", lambda path, _: "crashes" if "fp16" in path.name else None)
    module = Loud(1.0).eval()
    after = Export().run(Candidate(module, module, PICTURE), Context(tmp_path))
    assert after.lineage[-1].changed["left_out"] == {"fp16": "crashes"}
    assert sorted(after.files) == ["fp32"]
    assert not (tmp_path / "model.fp16.onnx").exists()
    only = Export(ExportSettings(precisions=("fp16",)))
    with pytest.raises(ModelError, match="the fp16 file crashes"):
        only.run(Candidate(module, module, PICTURE), Context(tmp_path))


def test_the_float32_proof_tells_rounding_from_error() -> None:
    stage = Export()
    far = {"finite": True, "max_difference": 6e-4, "psnr_db": 90.0}
    assert stage._fault("fp32", {**far, "rounding": 1e-4}) is None
    assert "differs from the student" in (stage._fault("fp32", {**far, "rounding": 1e-6}) or "")
    assert exporting.LARGEST_FP32_DIFFERENCE == 1e-4


class Steps(nn.Module):
    """A recurrent cell from a state of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        state, given = x.new_zeros(x.shape[0], 8), []
        for step in x.unbind(1):
            state = self.cell(step, state)
            given.append(self.out(state))
        return torch.stack(given, 1)


def test_zeros_have_a_type_that_any_converter_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxruntime.transformers import float16

    torch.manual_seed(0)
    contract = Contract((Input("x", (3, 6)),), (Output("y", (3, 3), layout=""),))
    model, seen = to_onnx(Steps().eval().requires_grad_(False), contract), []

    def convert(given: onnx.ModelProto, **how: Any) -> onnx.ModelProto:
        seen.extend(node for node in given.graph.node if node.op_type == "ConstantOfShape")
        return converted(given, **how)

    converted = float16.convert_float_to_float16
    monkeypatch.setattr(float16, "convert_float_to_float16", convert)
    half = to_half(model, contract)
    onnx.checker.check_model(half, full_check=True)
    assert [node.attribute[0].name for node in seen] == ["value"]
    assert in_float32(half) == []


class Oscillator(nn.Module):
    """Sums up to phases of hundreds of radians, and puts some of the sound elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Linear(4, 512)

    def forward(self, x: Tensor) -> Tensor:
        waves = torch.sin(torch.cumsum(torch.sigmoid(self.steps(x)), 1))
        places = torch.arange(512).expand(x.shape[0], -1) // 2
        return torch.zeros_like(waves).scatter_add(1, places, waves)


def test_phases_and_sums_keep_what_float16_would_lose(tmp_path: Path) -> None:
    torch.manual_seed(0)
    contract = Contract((Input("x", (4,)),), (Output("y", (512,), (-2, 2), ""),))
    module = Oscillator().eval()
    half = to_half(to_onnx(module, contract), contract)
    kinds = {node.name: node.op_type for node in half.graph.node}
    stay = {kinds[name] for name in in_float32(half)}
    assert {"Sin", "CumSum", "Sigmoid", "ScatterElements"} <= stay
    assert not {"Gemm", "MatMul"} & stay
    onnx_graph.save(half, tmp_path / "half.onnx")
    assert agreement(tmp_path / "half.onnx", module, contract)["psnr_db"] > 45


class TwoReaders(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        low = torch.relu(x)
        return (torch.cumsum(low, 2) + torch.cumsum(low, 3)) / 64


def test_a_cast_for_each_that_reads_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = float16.convert_float_to_float16

    def before_1_32(model: onnx.ModelProto, **settings: Any) -> onnx.ModelProto:
        half = convert(model, **settings)
        shared = next(node for node in half.graph.node if node.output[0].endswith("_cast_to_fp32"))
        half.graph.node.add().CopyFrom(shared)
        return half

    monkeypatch.setattr(float16, "convert_float_to_float16", before_1_32)
    half = to_half(to_onnx(TwoReaders(), PICTURE), PICTURE)
    onnx.checker.check_model(half)
    given = [name for node in half.graph.node for name in node.output]
    assert len(given) == len({*given})
