"""Which layers of a file really run in INT8, as ONNX Runtime's optimized graph shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime

INT8_KERNELS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger")


def kernels(path: Path, macs: Mapping[str, int]) -> dict[str, Any]:
    """Return what ONNX Runtime makes of a file on this machine's CPU.

    Args:
        path: a file whose layers' nodes have the layers' names.
        macs: layer name to multiply-accumulates.

    Returns:
        `int8_layers` and `float_layers` (names), `int8_macs_share` (0..1), and `operators`: how many nodes
        of each kind the optimized graph has.
    """
    optimized = _optimized(path)
    names = {node.name.partition("_token_")[0] for node in optimized if node.op_type in INT8_KERNELS}
    int8 = [layer for layer in macs if layer in names]
    total = sum(macs.values())
    return {
        "int8_layers": int8,
        "float_layers": [layer for layer in macs if layer not in names],
        "int8_macs_share": round(sum(macs[layer] for layer in int8) / total, 4) if total else 0.0,
        "operators": dict(sorted(Counter(node.op_type for node in optimized).items())),
    }


def _optimized(path: Path) -> list[onnx.NodeProto]:
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return list(onnx.load(options.optimized_model_filepath).graph.node)
