from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgegan.compress import onnx_graph
from edgegan.compress.export import to_onnx
from edgegan.compress.half import to_half
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

CONTRACT = Contract((Input("x", (4, 5, 7)),), (Output("y", (4, 5, 7), layout=""),))


class Slopes(nn.Module):
    """PReLUs with the numbers of slopes that are asked for, two of them the same."""

    def __init__(self, *counts: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.PReLU(count) for count in counts)
        for layer in self.layers:
            nn.init.uniform_(layer.weight, -0.5, 1.5)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.layers, self.layers[0]):
            x = layer(x - 0.3)
        return x


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def run(model: onnx.ModelProto, path: Path) -> np.ndarray:
    onnx_graph.save(model, path)
    with OnnxRuntimeEngine(path, threads=1) as engine:
        return engine(CONTRACT.sample(8, 1))["y"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((1,), {"Sub": 2, "LeakyRelu": 2}),
        ((4,), {"Sub": 2, "Relu": 2, "Min": 2, "Mul": 2, "Add": 2}),
        ((1, 4), {"Sub": 3, "LeakyRelu": 2, "Relu": 1, "Min": 1, "Mul": 1, "Add": 1}),
    ],
)
def test_prelu_becomes_faster_operators_with_the_same_outputs(
    counts: tuple[int, ...], expected: dict[str, int], tmp_path: Path
) -> None:
    model = to_onnx(Slopes(*counts), CONTRACT)
    plain = onnx_graph.plain_prelu(model)
    assert "PRelu" in operators(model)
    assert operators(plain) == expected
    used = {name for node in plain.graph.node for name in node.input}
    assert {tensor.name for tensor in plain.graph.initializer} <= used
    before, after = run(model, tmp_path / "before.onnx"), run(plain, tmp_path / "after.onnx")
    assert (before < 0).any()
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-7)


def test_prelu_becomes_faster_operators_in_half_precision_too(tmp_path: Path) -> None:
    model = to_onnx(Slopes(1, 4), CONTRACT)
    half = to_half(onnx_graph.plain_prelu(model), CONTRACT)
    assert "PRelu" not in operators(half)
    expected = run(model, tmp_path / "full.onnx")
    assert np.abs(run(half, tmp_path / "half.onnx") - expected).max() < 0.01


def test_slopes_that_are_computed_stay_in_prelu() -> None:
    class Computed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.prelu(x, x.mean((0, 2, 3)))

    assert operators(onnx_graph.plain_prelu(to_onnx(Computed(), CONTRACT)))["PRelu"] == 1
