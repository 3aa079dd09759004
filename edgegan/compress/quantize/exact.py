"""What lets a file and its graph agree: biases in whole units of the products, and sums that are exact.

A value between two levels falls to either by the last bit of a sum, and each layer makes more of such a flip:
where a bias alone differs by a thousandth of a step, the outputs differ by several.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_map

from edgegan.compress.inputs import example
from edgegan.compress.quantize.annotate import COMPUTE, MOVES, RELUS
from edgegan.compress.quantize.levels import Levels
from edgegan.compress.rewrite.graph import argument, constant, outputs
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

INT32 = 2**31
SAMPLES = 32
decomposed = torch.ops.quantized_decomposed


def round_biases(prepared: GraphModule) -> None:
    """Round each quantized layer's bias to whole units of its input's scale times its weight's."""
    for node in prepared.graph.nodes:
        if node.target not in COMPUTE:
            continue
        bias = constant(prepared, argument(node, 2, "bias"))
        scales = [_scale(prepared, argument(node, i, name)) for i, name in enumerate(("input", "weight"))]
        if bias is not None and scales[0] is not None and scales[1] is not None:
            unit = (scales[0] * scales[1]).double()
            bias.copy_((bias.double() / unit).round().clamp(-INT32, INT32 - 1) * unit)


def _scale(prepared: GraphModule, node: Node) -> Tensor | None:
    levels = prepared.get_submodule(str(node.target)) if node.op == "call_module" else None
    return levels.calculate_qparams()[0] if isinstance(levels, Levels) else None


class ExactSums(Interpreter):
    """Runs a graph in Q/DQ form as an engine that sums up integers does.

    Layers compute in float64, in which sums of products of levels are exact; all else in float32, as there.
    """

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator."""
        if target == decomposed.quantize_per_tensor.default:
            x, scale, zero, low, high, dtype = args
            return (x.double() / scale).round().add(zero).clamp(low, high).to(dtype)
        if target == decomposed.dequantize_per_tensor.default:
            x, scale, zero = args[:3]
            return (x.double() - zero) * scale
        if target == decomposed.dequantize_per_channel.default:
            x, scale, _, axis = args[:4]
            return x * scale.double().view([-1 if i == axis else 1 for i in range(x.dim())])
        if target not in (*RELUS, *MOVES):
            wanted = torch.float64 if target in COMPUTE else torch.float32
            args, kwargs = tree_map(lambda value: _as(wanted, value), (args, kwargs))
        return super().call_function(target, args, kwargs)


def _as(dtype: torch.dtype, value: Any) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def one_step(path: Path, graph: GraphModule, contract: Contract, *, optimized: bool) -> dict[str, float]:
    """Compare a file's outputs on ONNX Runtime with those of the Q/DQ graph that it was written from.

    Args:
        path: the file; one for another engine than ONNX Runtime is not to be `optimized` by it.
        graph: in Q/DQ form.
        contract: samples are drawn from it.
        optimized: whether ONNX Runtime may use its INT8 kernels.

    Returns:
        Shares (0..1) of output values within one step, 1/255 of the output's range, of the graph with exact
        sums: `within_one_step` of the file's, and `graph_within_one_step` of the same graph's in torch's own
        float32. Where that is below 1, the last bits of float sums decide, and no file can do better.
    """
    inputs = example(contract, SAMPLES, seed=0)
    with OnnxRuntimeEngine(path, threads=1, optimized=optimized) as engine:
        actual = engine(contract.sample(SAMPLES, 0))
    single, exact = outputs(graph, inputs), outputs(ExactSums(graph).run, inputs)
    shares = {"within_one_step": 1.0, "graph_within_one_step": 1.0}
    for spec, alike, true in zip(contract.outputs, single, exact, strict=True):
        step = (spec.range[1] - spec.range[0]) / 255
        for name, values in zip(shares, (actual[spec.name], alike.numpy())):
            share = float((np.abs(values - true.numpy()) <= step).mean())
            shares[name] = min(shares[name], round(share, 6))
    return shares
