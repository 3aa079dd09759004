from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.example_inputs import example
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.rewrite import trace
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.target import Int8, Target

with quiet():
    from edgegan.compress.quantize.calibrate.calibration import Calibration, observe, quantizers
    from edgegan.compress.quantize.calibrate.neural_compressor import prepare, quantize, tune
    from edgegan.compress.quantize.prepare.layers import last_layers, layer_macs
    from edgegan.compress.quantize.prepare.quantizer import Int8Quantizer

CONTRACT = Contract((Input("x", (3, 4, 4)),), (Output("y", (2, 8, 8)),))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.last(nn.functional.interpolate(x + self.second(x), scale_factor=2)).tanh()


def graph() -> torch.fx.GraphModule:
    torch.manual_seed(0)
    return trace(Net().eval(), CONTRACT)


def int8(target: str) -> Int8:
    found = Target.read(target).int8
    assert found is not None
    return found


def rounded(target: str, skip: Sequence[str] = ()) -> list[str]:
    """Return what is rounded: names of nodes, and of weights."""
    with quiet():
        prepared = prepare(graph(), Int8Quantizer(int8(target), skip=skip))
    return sorted({node.all_input_nodes[0].name for node, _ in quantizers(prepared)})


def calibrated(float_graph: torch.fx.GraphModule) -> Calibration:
    return Calibration(observe(float_graph, [example(CONTRACT, 8, seed) for seed in range(3)]), "mse")


def test_layers_macs_and_the_last() -> None:
    assert layer_macs(graph()) == {"first": 16 * 108, "second": 16 * 16, "last": 64 * 8}
    assert last_layers(graph()) == {"last": False}


def test_weights_that_are_zero_are_no_macs() -> None:
    net = Net().eval()
    torch.nn.init.zeros_(net.first.weight[:, 0])
    assert layer_macs(trace(net, CONTRACT))["first"] == 16 * 72


def test_onnx_runtime_gets_inputs_and_outputs_of_layers() -> None:
    assert rounded("x64-cpu") == [
        "add", "conv2d_1", "conv2d_2", "first_weight", "last_weight", "relu", "second_weight",
        "upsample_nearest2d", "x",
    ]  # fmt: skip


def test_tensorrt_gets_inputs_of_layers_and_the_other_branch_of_sums() -> None:
    names = rounded("jetson-orin-nano")
    assert [name for name in names if not name.endswith("weight")] == [
        "add",
        "relu",
        "upsample_nearest2d",
        "x",
    ]
    with quiet():
        prepared = prepare(graph(), Int8Quantizer(int8("jetson-orin-nano")))
    addition = next(node for node in prepared.graph.nodes if node.target == torch.ops.aten.add.Tensor)
    kinds = [value.op for value in addition.args]
    assert sorted(kinds) == ["call_function", "call_module"]


def test_a_skipped_layer_keeps_its_weight() -> None:
    assert "second_weight" not in rounded("x64-cpu", skip=["second"])


@pytest.mark.parametrize(
    ("target", "dtype", "low", "high", "widest"),
    [
        ("x64-cpu", torch.uint8, 0, 255, 63),
        ("x64-cpu-vnni", torch.uint8, 0, 255, 127),
        ("arm64-cpu", torch.int8, -128, 127, 127),
        ("jetson-orin-nano", torch.int8, -127, 127, 127),
    ],
)
def test_levels_are_those_of_the_target(
    target: str, dtype: torch.dtype, low: int, high: int, widest: int
) -> None:
    original = graph()
    with quiet():
        prepared = prepare(copy.deepcopy(original), Int8Quantizer(int8(target)))
    calibrated(original)(prepared)
    for node, levels in quantizers(prepared):
        weight = node.all_input_nodes[0].op == "get_attr"
        assert levels.dtype == (torch.int8 if weight else dtype)
        assert (levels.quant_min, levels.quant_max) == ((-widest, widest) if weight else (low, high))
        assert levels.per_channel == weight
        if weight or int8(target).symmetric:
            assert not levels.zero_point.any()


def test_neural_compressor_tunes_the_networks_that_torchao_alone_gives() -> None:
    original = graph()
    annotators = [Int8Quantizer(int8("x64-cpu"), skip=skip) for skip in ([], ["last"])]
    (x,) = example(CONTRACT, 8, 0)
    tuned: list[Tensor] = []

    def score(model: torch.fx.GraphModule) -> float:
        tuned.append(model(x))
        return len(tuned) / 2

    with quiet():
        ours = [quantize(copy.deepcopy(original), each, calibrated(original)) for each in annotators]
        assert tune(original, annotators, calibrated(original), score) == [0.5, 1.0]
    assert [torch.equal(model(x), output) for model, output in zip(ours, tuned, strict=True)] == [True, True]
    nodes = ours[1].graph.nodes
    kinds = [str(node.target) for node in nodes if "quantized_decomposed" in str(node.target)]
    assert sum("dequantize_per_channel" in kind for kind in kinds) == 2
    assert float((ours[1](x) - original(x)).detach().abs().max()) < 0.02


def test_until_they_are_set_levels_change_nothing() -> None:
    original = graph()
    with quiet():
        prepared = prepare(copy.deepcopy(original), Int8Quantizer(int8("x64-cpu")))
    x = torch.randn(5, 3, 4, 4)
    assert torch.equal(prepared(x), original(x))
    calibrated(original)(prepared)
    assert not torch.equal(prepared(x), original(x))
