"""Which layers of a file really run in INT8, as ONNX Runtime's optimized graph shows."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime

from edgegan.compress.operators import INT8_LAYERS, MOVES
from edgegan.compress.quantize.deploy.onnx_macs import CALL, Shapes, is_layer, node_macs
from edgegan.runtime.cpu import cpu


def kernels(path: Path, inputs: Shapes = {}) -> dict[str, Any]:  # noqa: B006
    """Return what ONNX Runtime makes of a file on this machine's CPU.

    Args:
        path: the file.
        inputs: see `onnx_macs.layer_macs`.

    Returns:
        `int8_layers` and `float_layers` (names of nodes), `int8_macs_share` (0..1), `operators`: how many
        nodes of each kind the optimized graph has, and `float_operators`: those that give no 8-bit values,
        without conversions.
    """
    optimized = _optimized(path)
    names = {plain_name(node.name) for node in optimized if node.op_type in INT8_LAYERS.onnx}
    return {
        **_shares(onnx.load(path), names, inputs),
        "operators": _counts(optimized),
        "float_operators": _counts(_in_float(optimized)),
    }


def saturates() -> bool:
    """Whether this machine's kernels cut off sums of 8-bit weights, as x86 does without VNNI."""
    return platform.machine() in ("x86_64", "AMD64") and not cpu().vnni


def annotated(path: Path, inputs: Shapes = {}) -> dict[str, Any]:  # noqa: B006
    """Return the layers whose inputs and weights a file dequantizes: those that TensorRT runs in INT8.

    Args:
        path: the file.
        inputs: see `onnx_macs.layer_macs`.

    Returns:
        `int8_layers`, `float_layers` and `int8_macs_share`, as `kernels`.
    """
    model = onnx.load(path)
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    reordered = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in MOVES.onnx}

    def quantized(value: str) -> bool:
        while value in reordered:
            value = reordered[value]
        return value in dequantized

    layers = [node for node in model.graph.node if is_layer(node)]
    names = {node.name for node in layers if all(map(quantized, node.input[:2]))}
    return _shares(model, names, inputs)


def _counts(nodes: Iterable[onnx.NodeProto]) -> dict[str, int]:
    return dict(sorted(Counter(node.op_type for node in nodes).items()))


def _in_float(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that compute or move values of more than 8 bits, but for conversions from 8 bits."""
    levels: set[str] = set()
    for node in nodes:
        gives_levels = node.op_type in ("QuantizeLinear", *INT8_LAYERS.onnx) or node.op_type.startswith(
            "QLinear"
        )
        if gives_levels or (node.op_type in MOVES.onnx and node.input[0] in levels):
            levels.update(node.output)
        elif node.op_type not in ("DequantizeLinear", "Cast"):
            yield node


def _shares(model: onnx.ModelProto, names: set[str], inputs: Shapes) -> dict[str, Any]:
    """Return which layers are in INT8, by the `names` of nodes that are; a shared one where each call is."""
    macs = node_macs(model, inputs)
    layers = list(dict.fromkeys(name.partition(CALL)[0] for name in macs))
    in_float = {name.partition(CALL)[0] for name in macs if name not in names}
    total = sum(macs.values())
    return {
        "int8_layers": [layer for layer in layers if layer not in in_float],
        "float_layers": [layer for layer in layers if layer in in_float],
        "int8_macs_share": round(sum(macs[name] for name in names & set(macs)) / total, 4) if total else 0.0,
    }


def plain_name(name: str) -> str:
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
