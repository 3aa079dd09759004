"""Which layers of a file really run in INT8, as ONNX Runtime's optimized graph shows."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import shape_inference

from edgegan.runtime.cpu import cpu

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
MOVES = (
    *("Transpose", "Reshape", "DepthToSpace", "Gather", "Resize", "Upsample", "Pad", "Slice", "Split"),
    *("Squeeze", "Unsqueeze", "Flatten", "Identity", "MaxPool"),
)
"""Operators that give 8-bit values where they take such."""
INT8_KERNELS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger")


def kernels(path: Path) -> dict[str, Any]:
    """Return what ONNX Runtime makes of a file on this machine's CPU.

    Returns:
        `int8_layers` and `float_layers` (names of nodes), `int8_macs_share` (0..1), `operators`: how many
        nodes of each kind the optimized graph has, and `float_operators`: those that give no 8-bit values,
        without conversions.
    """
    optimized = _optimized(path)
    names = {_plain(node.name) for node in optimized if node.op_type in INT8_KERNELS}
    return {
        **_shares(layer_macs(onnx.load(path)), names),
        "operators": _counts(optimized),
        "float_operators": _counts(_in_float(optimized)),
    }


def saturates() -> bool:
    """Whether this machine's kernels cut off sums of 8-bit weights, as x86 does without VNNI."""
    return platform.machine() in ("x86_64", "AMD64") and not cpu().vnni


def annotated(path: Path) -> dict[str, Any]:
    """Return the layers whose inputs and weights a file dequantizes: those that TensorRT runs in INT8.

    Returns:
        `int8_layers`, `float_layers` and `int8_macs_share`, as `kernels`.
    """
    model = onnx.load(path)
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    names = {node.name for node in model.graph.node if set(node.input[:2]) <= dequantized}
    return _shares(layer_macs(model), names)


def layer_macs(model: onnx.ModelProto) -> dict[str, int]:
    """Return the layers with constant weights: node name to multiply-accumulates of one sample."""
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    constants = {tensor.name: tuple(tensor.dims) for tensor in inferred.graph.initializer}
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    shapes = {value.name: _shape(value) for value in values}
    for node in inferred.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    macs = {}
    for node in inferred.graph.node:
        if node.op_type in LAYERS and node.input[1] in constants:
            weight = constants[node.input[1]]
            counted = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
            positions = shapes[counted][2:] if len(weight) > 2 else shapes[counted][1:-1]
            macs[node.name] = int(np.prod(weight) * np.prod(positions, dtype=int))
    return macs


def _counts(nodes: Iterable[onnx.NodeProto]) -> dict[str, int]:
    return dict(sorted(Counter(node.op_type for node in nodes).items()))


def _in_float(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that compute or move values of more than 8 bits, but for conversions from 8 bits."""
    levels: set[str] = set()
    for node in nodes:
        gives_levels = node.op_type in ("QuantizeLinear", *INT8_KERNELS) or node.op_type.startswith("QLinear")
        if gives_levels or (node.op_type in MOVES and node.input[0] in levels):
            levels.update(node.output)
        elif node.op_type not in ("DequantizeLinear", "Cast"):
            yield node


def _shares(macs: dict[str, int], names: set[str]) -> dict[str, Any]:
    int8 = [layer for layer in macs if layer in names]
    total = sum(macs.values())
    return {
        "int8_layers": int8,
        "float_layers": [layer for layer in macs if layer not in names],
        "int8_macs_share": round(sum(macs[layer] for layer in int8) / total, 4) if total else 0.0,
    }


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _plain(name: str) -> str:
    """Return a node's name without what ONNX Runtime's optimizer or quantizer put behind it."""
    return name.partition("_token_")[0].removesuffix("_quant")


def _optimized(path: Path) -> list[onnx.NodeProto]:
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return list(onnx.load(options.optimized_model_filepath).graph.node)
