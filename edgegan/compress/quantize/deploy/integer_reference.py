"""What lets a file and its graph agree: biases in whole units of the products, and sums that are exact.

A value between two levels falls to either by the last bit of a sum, and each layer makes more of such a flip:
where a bias alone differs by a thousandth of a step, the outputs differ by several.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import getitem
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_map

from edgegan.compress import memory
from edgegan.compress.operators import INT8_LAYERS, MOVES
from edgegan.compress.psnr import BEHIND_DB, behind_db, squared_errors
from edgegan.compress.quantize.prepare.fake_quantize import Levels
from edgegan.compress.rewrite.conv_kernels import per_axis
from edgegan.compress.rewrite.conv_transpose import PLAIN
from edgegan.compress.rewrite.graph import argument, aten, constant, outputs, shape
from edgegan.compress.strips import convolve
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.registry import open_artifact

INT32 = 2**31
SAMPLES, MOST = 32, 4096
SEED = 0xB17
DOUBLES = 4
"""What a pass in float64 takes, relative to one in float32, with the convolutions' patches."""
JITTER = 2.0**-21
"""Of a value: a few of its last bits, by which the sums of two engines differ."""
decomposed = torch.ops.quantized_decomposed
DEQUANTIZED = (decomposed.dequantize_per_tensor.default, decomposed.dequantize_per_channel.default)
ROUNDED_ALIKE = (
    getitem,
    aten.relu.default,
    aten.chunk.default,
    aten.split.Tensor,
    aten.select.int,
    aten.expand.default,
    aten.stack.default,
    aten.clone.default,
    aten.contiguous.default,
    aten.embedding.default,
    aten.neg.default,
    aten.div.Tensor,
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.prelu.default,
    aten.leaky_relu.default,
    aten.clamp.default,
    aten.hardtanh.default,
    aten.index_select.default,
    aten.pad.default,
    aten.cat.default,
)
"""Operators of which each output value is one rounded operation on inputs, or none: all engines agree."""


def round_biases(prepared: GraphModule) -> None:
    """Round each quantized layer's bias to whole units of its input's scale times its weight's."""
    for node in prepared.graph.nodes:
        if node.target not in INT8_LAYERS.torch:
            continue
        bias = constant(prepared, argument(node, 2, "bias"))
        scales = [_scale(prepared, argument(node, i, name)) for i, name in enumerate(("input", "weight"))]
        if bias is not None and scales[0] is not None and scales[1] is not None:
            unit = (scales[0] * scales[1]).double()
            bias.copy_((bias.double() / unit).round().clamp(-INT32, INT32 - 1) * unit)


def _scale(prepared: GraphModule, node: Node) -> Tensor | None:
    levels = prepared.get_submodule(str(node.target)) if node.op == "call_module" else None
    return levels.calculate_qparams()[0] if isinstance(levels, Levels) else None


class AsInteger(Interpreter):
    """Runs a graph in Q/DQ form as ONNX Runtime's INT8 kernels do, to the last bit where these take over.

    A layer sums up whole products of levels, exactly, and scales its sum once, in float32, to the levels of
    its output (QLinearConv, QGemm). All else is float32, as there.

    Args:
        graph: in Q/DQ form.
        jitter: change by `JITTER` the values that no two engines need agree on to the last bit: those of
            norms, layers in float, and functions other than `ROUNDED_ALIKE`.
    """

    def __init__(self, graph: GraphModule, *, jitter: bool = False) -> None:
        super().__init__(graph)
        self.nodes = list(graph.graph.nodes)
        self.generator = torch.Generator().manual_seed(SEED) if jitter else None

    def run_node(self, n: Node) -> Any:
        """Run one node."""
        if n.target != decomposed.quantize_per_tensor.default:
            value = super().run_node(n)
            return value if self.generator is None or self._is_settled(n) else self._jittered(value)
        (x, scale, zero, low, high, dtype), _ = self.fetch_args_kwargs_from_env(n)
        factors = self._factors(n.args[0])  # pyright: ignore[reportArgumentType]
        if factors is None:
            steps = x.float() / np.float32(scale)
        else:
            sums = (x / (factors[0].double() * factors[1].double())).round()
            steps = sums.float() * (factors[0] * factors[1] / torch.tensor(scale))
        return steps.round().add(zero).clamp(low, high).to(dtype)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator."""
        if target == decomposed.dequantize_per_tensor.default:
            x, scale, zero = args[:3]
            return (x.double() - zero) * scale
        if target == decomposed.dequantize_per_channel.default:
            x, scale, _, axis = args[:4]
            return x * scale.double().view([-1 if i == axis else 1 for i in range(x.dim())])
        if target not in (aten.relu.default, *MOVES.torch):
            wanted = torch.float64 if target in INT8_LAYERS.torch else torch.float32
            args, kwargs = tree_map(lambda value: _as(wanted, value), (args, kwargs))
        if target in PLAIN.values() and not kwargs:
            return _in_strips(*args)
        return super().call_function(target, args, kwargs)

    @property
    def settled(self) -> bool:
        """Whether all that is rounded to levels has the same last bits on any engine."""
        unsettled: set[Node] = set()
        for node in self.nodes:
            if node.target == decomposed.quantize_per_tensor.default:
                if node.args[0] in unsettled:
                    return False
            elif not self._is_settled(node) or unsettled & set(node.all_input_nodes):
                unsettled.add(node)
        return True

    def _is_settled(self, node: Node) -> bool:
        """Whether any engine gives the same values to the last bit."""
        known = (*MOVES.torch, *ROUNDED_ALIKE, *DEQUANTIZED)
        return node.op != "call_function" or node.target in known or self._factors(node) is not None

    def _jittered(self, value: Any) -> Any:
        if not _is_whole(value):
            return value
        signs = torch.rand(value.shape, generator=self.generator).sub(0.5).sign()
        return value.float() * (1 + JITTER * signs)

    def _factors(self, node: Node) -> tuple[Tensor, Tensor] | None:
        """Return the scales of input and weight, in the output's shape, of the quantized layer `node`."""
        layer = node.args[0] if node.target == aten.relu.default else node
        if not isinstance(layer, Node) or layer.target not in INT8_LAYERS.torch:
            return None
        if layer.target == aten.linear.default and len(shape(layer)) != 2:
            return None
        source, weight = argument(layer, 0, "input"), argument(layer, 1, "weight")
        if (source.target, weight.target) != DEQUANTIZED:
            return None
        scale = constant(self.module, weight.args[1])  # pyright: ignore[reportArgumentType]
        assert scale is not None
        channels = [-1] if layer.target == aten.linear.default else [-1] + [1] * (len(shape(layer)) - 2)
        return torch.tensor(source.args[1]), scale.float().view(channels)


def _in_strips(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    stride, padding, dilation = (per_axis(of, x.dim() - 2) for of in (stride, padding, dilation))
    return convolve(x, weight, bias, stride, padding, dilation, groups)


def _as(dtype: torch.dtype, value: Any) -> Any:
    return value.to(dtype) if _is_whole(value) else value


def _is_whole(value: Any) -> bool:
    """Whether a value is of float32, or of float64 in its place: float16 is a network's own wish."""
    return isinstance(value, Tensor) and value.dtype in (torch.float32, torch.float64)


def one_step(
    file: Artifact,
    graph: GraphModule,
    student: nn.Module,
    contract: Contract,
    *,
    samples: int = SAMPLES,
    most: int = MOST,
) -> dict[str, Any]:
    """Compare a file's outputs on ONNX Runtime with those of the Q/DQ graph that it was written from.

    Args:
        file: one for another engine than ONNX Runtime runs without its INT8 kernels.
        graph: in Q/DQ form.
        student: what was quantized.
        contract: samples are drawn from it.
        samples: how many to compare.
        most: as many are compared where it is not clear of fewer whether the file is behind by `BEHIND_DB`;
            no more than differ where inputs are stored.

    Returns:
        Shares (0..1) of output values within one step, 1/255 of the output's range, of the graph as integers
        compute it: `within_one_step` of the file's; `jittered_within_one_step` of the same graph's with the
        last bits of its norms and the like changed, below 1 where a file cannot give 1; and
        `graph_within_one_step` of the graph's in torch's own float32 sums. `settled`: whether the file has to
        give 1, since no norm or the like stands before a rounding. `behind_db`: by how much the
        file's outputs are farther from the student's than those of the graph in integers, in dB of PSNR as
        the mean over samples.
    """
    size = min(samples, memory.samples(DOUBLES * memory.live_bytes(graph)))
    most = max(samples, min(most, contract.distinct() or most))
    near: dict[str, list[list[Tensor]]] = {"": [], "jittered_": [], "graph_": []}
    errors: dict[str, list[list[Tensor]]] = {"file": [], "exact": []}
    seen, enough = 0, samples
    with open_artifact(file, threads=1) as engine:
        for arrays in contract.batches(most, 0, size):
            inputs = tuple(torch.from_numpy(arrays[spec.name]) for spec in contract.inputs)
            actual = engine(arrays)
            exact, true = outputs(AsInteger(graph).run, inputs), outputs(student, inputs)
            given = tuple(torch.from_numpy(actual[spec.name]) for spec in contract.outputs)
            near[""].append(_near(given, exact, contract))
            jittered = outputs(AsInteger(graph, jitter=True).run, inputs)
            near["jittered_"].append(_near(jittered, exact, contract))
            near["graph_"].append(_near(outputs(graph, inputs), exact, contract))
            errors["exact"].append(squared_errors(exact, true, contract))
            errors["file"].append(squared_errors(given, true, contract))
            seen += len(inputs[0])
            if seen >= enough:
                behind, margin = behind_db(*map(_joined, errors.values()))
                if abs(behind - BEHIND_DB) > margin:
                    break
                enough *= 2
    shares = {
        f"{name}within_one_step": round(min(float(of.mean()) for of in _joined(parts)), 6)
        for name, parts in near.items()
    }
    behind, _ = behind_db(*map(_joined, errors.values()))
    return {**shares, "settled": AsInteger(graph).settled, "behind_db": round(behind, 2)}


def _joined(batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Return what batches hold of each output as one tensor."""
    return [torch.cat(parts) for parts in zip(*batches)]


def _near(actual: Sequence[Tensor], exact: Sequence[Tensor], contract: Contract) -> list[Tensor]:
    """Return, of each output, each sample's share (N,) of values within one step of the exact ones."""
    shares = []
    for given, true, spec in zip(actual, exact, contract.outputs, strict=True):
        step = (spec.range[1] - spec.range[0]) / 255
        shares.append(((given - true).abs() <= step).double().flatten(1).mean(dim=1))
    return shares
