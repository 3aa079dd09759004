"""Where the time goes, as profilers tell it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.base import Options
from edgegan.runtime.engines.layer_times import WARMUP, LayerTime, onnxruntime_times
from edgegan.runtime.engines.registry import engine_kind


def event(name: str, operator: str, index: int, microseconds: int, *inputs: str) -> dict[str, Any]:
    """A node's event, as ONNX Runtime writes it."""
    ports = [{dtype: [1, 8]} for dtype in inputs]
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": microseconds,
        "args": {"op_name": operator, "node_index": str(index), "input_type_shape": ports},
    }


def test_layers_are_told_by_their_medians_in_order_and_by_what_they_compute(tmp_path: Path) -> None:
    calls = [[9000, 9000], *[[9000, 9000]] * (WARMUP - 1), [100, 50], [300, 60], [200, 70]]
    events: list[dict[str, Any]] = [{"cat": "Session", "name": "model_run", "dur": 1, "args": {}}]
    for conv, quantize in calls:
        events += [
            event("node_quantize", "QuantizeLinear", 0, quantize, "float", "float", "uint8"),
            event("conv_token_3", "QLinearConv", 1, conv, "uint8", "float", "uint8", "int8"),
            event("Transpose_token_1", "Transpose", 2, 10, "uint8"),
            event("Transpose_token_2", "Transpose", 3, 30, "float"),
            event("concat", "QLinearConcat", 4, 5, "float", "uint8"),
            {**event("conv_fence_before", "QLinearConv", 1, 7), "name": "conv_fence_before"},
        ]
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(events))
    assert onnxruntime_times(file) == (
        LayerTime("node_quantize", "QuantizeLinear", "conversion", pytest.approx(0.06)),
        LayerTime("conv", "QLinearConv", "int8", pytest.approx(0.2)),
        LayerTime("Transpose", "Transpose", "int8", pytest.approx(0.01)),
        LayerTime("Transpose", "Transpose", "float", pytest.approx(0.03)),
        LayerTime("concat", "QLinearConcat", "int8", pytest.approx(0.005)),
    )


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_an_engine_that_is_profiled_tells_its_layers_and_leaves_no_file_behind(
    name: str, models: Path, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kind, file = engine_kind(name), models / "labelled.onnx"
    with kind.open(Artifact("fp32", str(file)), file, Options(1, profiled=True)) as engine:
        for seed in range(4):
            engine(contract.sample(2, seed))
        layers = engine.layer_times()
    assert "Gather" in {layer.operator for layer in layers}
    assert "int8" not in {layer.kind for layer in layers}
    assert all(0 <= layer.ms < 1e3 for layer in layers)
    assert list(tmp_path.iterdir()) == []
    with kind.open(Artifact("fp32", str(file)), file, Options(1)) as engine:
        assert engine.layer_times() == ()
