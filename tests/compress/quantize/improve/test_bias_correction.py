from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import Tensor, nn
from torch.fx import GraphModule

from edgegan.compress import onnx_graph
from edgegan.compress.example_inputs import example
from edgegan.compress.export import to_onnx
from edgegan.compress.operators import INT8_LAYERS
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.quantize.calibrate.calibration import Batches, Calibration, observe, quantizers
from edgegan.compress.quantize.calibrate.neural_compressor import convert, prepare
from edgegan.compress.quantize.improve.bias_correction import Reconstruction, float_means
from edgegan.compress.quantize.improve.gptq import round_weights
from edgegan.compress.quantize.prepare.quantizer import Int8Quantizer
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.rewrite.graph import argument, constant, trace, watch
from edgegan.compress.stage import Candidate, Context
from edgegan.models.resnet import Generator
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.target import Int8

INT8 = Int8(
    activations="uint8", symmetric=False, weight_bits=7, outputs=True, sums=False, bias="int32", rest="fp32"
)
FLAT = Contract((Input("z", (12,)),), (Output("y", (5,)),))


def prepared(graph: GraphModule, batches: Batches) -> GraphModule:
    with quiet():
        ready = prepare(copy.deepcopy(graph), Int8Quantizer(INT8))
    Calibration(observe(graph, batches), "mse")(ready)
    return ready


def parameters(graph: GraphModule) -> list[tuple[Tensor, Tensor | None]]:
    """Return weight and bias of each layer of a prepared graph."""
    layers = [node for node in graph.graph.nodes if node.target in INT8_LAYERS.torch]
    weights = [constant(graph, argument(node, 1, "weight").args[0]) for node in layers]
    biases = [constant(graph, argument(node, 2, "bias")) for node in layers]
    return [(weight, bias) for weight, bias in zip(weights, biases) if weight is not None]


def shaped(layer: nn.Module, shape: tuple[int, ...]) -> tuple[GraphModule, Batches]:
    with torch.no_grad():
        made = tuple(layer(torch.zeros(1, *shape)).shape[1:])
    contract = Contract((Input("z", shape),), (Output("y", made),))
    graph = trace(layer.eval().requires_grad_(False), contract)
    mixed = torch.randn(8, 64, *shape) @ (torch.randn(shape[-1], shape[-1]) / shape[-1] ** 0.5)
    return graph, [(batch.cumsum(1),) for batch in mixed]


def test_rounding_by_outputs_beats_the_nearest_levels_and_stays_in_range() -> None:
    torch.manual_seed(0)
    x = torch.randn(2000, 64).double() @ torch.randn(64, 64).double()
    weight, gram = torch.randn(32, 64), x.T @ x / len(x)
    scale = weight.abs().amax(1).double() / 63
    levels = round_weights(weight, gram, scale, 63)
    nearest = (weight / scale[:, None]).round().clamp(-63, 63)

    def error(chosen: Tensor) -> float:
        return float((x @ (chosen * scale[:, None] - weight).T).square().mean())

    assert error(levels) < 0.6 * error(nearest)
    assert torch.equal(levels, levels.round())
    assert levels.abs().max() == 63
    assert torch.equal(levels, round_weights(weight, gram, scale, 63))


def test_inputs_that_do_not_depend_on_each_other_are_rounded_to_the_nearest() -> None:
    torch.manual_seed(0)
    weight, scale = torch.randn(4, 9), torch.full((4,), 0.05).double()
    levels = round_weights(weight, torch.rand(9).diag().double(), scale, 127)
    assert torch.equal(levels, (weight / scale[:, None]).round())
    assert torch.equal(round_weights(weight, torch.zeros(9, 9).double(), scale, 127), levels)


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    dimensions = draw(st.sampled_from([0, 1, 2]))
    if not dimensions:
        return nn.Linear(8, 6, bias=draw(st.booleans())), (8,)
    groups = draw(st.sampled_from([1, 2, 4]))
    stride = draw(st.integers(1, 2))
    paddings: list[int | str] = [0, 1, *(["same", "valid"] if stride == 1 else [])]
    kind = (nn.Conv1d, nn.Conv2d)[dimensions - 1]
    layer = kind(
        4,
        8,
        draw(st.integers(1, 3)),
        stride=stride,
        padding=draw(st.sampled_from(paddings)),
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
    )
    return layer, (4, *[7] * dimensions)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=12, deadline=None)
@given(layers())
def test_any_layer_gives_less_error_at_levels_in_range(drawn: tuple[nn.Module, tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    layer, shape = drawn
    layer.reset_parameters()  # pyright: ignore[reportCallIssue]
    graph, batches = shaped(nn.Sequential(layer, nn.Flatten(), nn.Tanh()), shape)
    inner = graph.graph
    x = torch.cat([batch for (batch,) in batches])
    before, after = prepared(graph, batches), prepared(graph, batches)
    Reconstruction(round_weights)(after, graph, batches)

    target = next(node for node in inner.nodes if node.target in INT8_LAYERS.torch)
    (weight, _), (nearest, _) = parameters(after)[0], parameters(before)[0]
    scale = next(levels.scale for _, levels in quantizers(after) if levels.per_channel)
    levels = weight.flatten(1) / scale[:, None]
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert levels.abs().max() <= 63.001

    def output(graph: GraphModule, of: Tensor) -> Tensor:
        read = next(levels for _, levels in quantizers(graph) if not levels.per_channel)
        node = next(node for node in graph.graph.nodes if node.name == target.name)
        args = [read(x), of, constant(graph, argument(node, 2, "bias")), *node.args[3:]]
        return target.target(*args)  # pyright: ignore[reportCallIssue]

    rounded = (nearest.flatten(1) / scale[:, None]).round().clamp(-63, 63) * scale[:, None]
    errors = [
        float((output(after, of) - output(after, nearest)).square().mean())
        for of in (weight, rounded.view_as(nearest))
    ]
    assert errors[0] <= errors[1] * 1.02


@pytest.mark.parametrize("bias", [True, False])
def test_bias_correction_gives_each_channel_the_float_mean(bias: bool) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 16, bias=bias), nn.ReLU(), nn.Linear(16, 5, bias=bias))
    graph = trace(module.requires_grad_(False), FLAT)
    batches = [(3 * torch.randn(32, 12),) for _ in range(4)]
    means = float_means(graph, batches)
    after = prepared(graph, batches)
    Reconstruction(means=means)(after, graph, batches)
    assert all(kept is not None for _, kept in parameters(after))
    x = torch.cat([batch for (batch,) in batches])
    assert len(means) == 2
    for name in means:
        captured = _value(after, name, x)
        weights = torch.cat(list(means[name].weights)).double()
        mean = (captured.double() * weights[:, None]).sum(0) / weights.sum()
        assert torch.allclose(mean, means[name].values, atol=1e-4)
        expected = _value(graph, name, x)
        mean = (expected.double() * weights[:, None]).sum(0) / weights.sum()
        assert torch.allclose(mean, means[name].values, atol=1e-6)


def _value(graph: GraphModule, name: str, x: Tensor) -> Tensor:
    found: dict[str, Tensor] = {}
    watch(graph, (x,), lambda node, value: found.update({node.name: value}))
    return found[name]


CONTRACT = Contract(
    (Input("z", (16,)), Input("label", (), "int64", Sample("labels", classes=4))),
    (Output("image", (3, 16, 16)),),
)


def stage_files(folder: Path, **settings: object) -> Candidate:
    torch.manual_seed(0)
    generator = Generator((16, 16, 8), latent=16, classes=4)
    with torch.no_grad():
        for seed in range(20):
            generator(*example(CONTRACT, 32, seed))
    module = generator.eval()
    stage = Quantize(
        QuantizeSettings.model_validate({"samples": 64, "calibrator": "mse", "quality": {}, **settings})
    )
    return stage.run(Candidate(module, module, CONTRACT), Context(folder))


def test_each_improvement_is_tried_and_the_best_is_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    targets = {"targets": ["x64-cpu", "jetson-orin-nano"], "equalize": False}
    first, again = (stage_files(tmp_path / name, **targets) for name in ("a", "b"))
    assert {key: path.read_bytes() for key, path in first.files.items()} == {
        key: path.read_bytes() for key, path in again.files.items()
    }
    record = first.lineage[-1]
    trials = record.proof["int8"]["trials"]
    assert sorted(trial["improvements"] for trial in trials) == [
        (),
        ("bias_correction",),
        ("gptq",),
        ("gptq", "bias_correction"),
    ]
    assert trials == sorted(trials, key=lambda trial: -trial["psnr_db"])
    for changed in record.changed["int8"], record.changed["int8-tensorrt"]:
        assert tuple(changed["improvements"]) == trials[0]["improvements"]


def test_switched_off_nothing_is_tried(tmp_path: Path) -> None:
    off = {"gptq": False, "bias_correction": False, "equalize": False}
    record = stage_files(tmp_path, **off).lineage[-1]
    assert [trial["improvements"] for trial in record.proof["int8"]["trials"]] == [()]
    assert record.changed["int8"]["improvements"] == []


def test_the_file_holds_the_levels_that_were_chosen(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5)).requires_grad_(False).eval()
    graph = trace(module, FLAT)
    batches = [(torch.randn(64, 12),)]
    ready = prepared(graph, batches)
    Reconstruction(round_weights)(ready, graph, batches)
    scales = [levels.scale for _, levels in quantizers(ready) if levels.per_channel]
    expected = [(weight / scale[:, None]).round() for (weight, _), scale in zip(parameters(ready), scales)]
    onnx_graph.save(to_onnx(convert(ready), FLAT), tmp_path / "model.onnx")
    tensors = onnx.load(tmp_path / "model.onnx").graph.initializer
    stored = [
        numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2
    ]
    for levels in expected:
        assert any(
            np.array_equal(kept, form) for kept in stored for form in (levels.numpy(), levels.numpy().T)
        )
