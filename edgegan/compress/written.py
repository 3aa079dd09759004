"""Files that run: written, tried in a process of their own, and mended where they crash their engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import onnx

from edgegan.compress import onnx_graph
from edgegan.compress.half import to_half
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.trial import fault

Precision = Literal["fp32", "fp16"]
SUSPECTS = ("GRU", "LSTM", "RNN", "Gelu", "LayerNormalization", "Softmax", "Mul", "Add")
"""The kinds of operators that are tried in float32 first: those that ONNX Runtime has kernels of its own for,
once it has merged them with others. ONNX Runtime 1.32 dies of float16 Gelu behind a Gemm, and of GRU."""


def write(
    model: onnx.ModelProto,
    contract: Contract,
    path: Path,
    precision: Precision,
    uint8_output: bool,
    kinds: Sequence[str] = (),
) -> None:
    """Write `model` in `precision`; in a float16 file operators of `kinds` stay in float32.

    Raises:
        StorageError: the file cannot be written.
    """
    if precision == "fp16":
        model = to_half(model, contract, kinds=kinds)
    if uint8_output:
        model = onnx_graph.with_uint8_outputs(model, contract)
    onnx_graph.save(model, path)


def write_running(
    model: onnx.ModelProto, contract: Contract, path: Path, precision: Precision, uint8_output: bool
) -> str | None:
    """Write `model` such that ONNX Runtime runs it on a sample; in float16, with more in float32 if need be.

    Returns:
        Why it does not run all the same: it crashes ONNX Runtime, gives NaN, or fails; None where it runs.

    Raises:
        StorageError: the file cannot be written.
    """
    sample, reason = contract.sample(1, 0), None
    for kinds in _ways(model) if precision == "fp16" else ((),):
        write(model, contract, path, precision, uint8_output, kinds)
        reason = fault(path, sample)
        if reason is None:
            break
    return reason


def _ways(model: onnx.ModelProto) -> Iterator[Sequence[str]]:
    """Yield kinds of operators to keep in float32: none, each alone, then more and more, then all."""
    there = dict.fromkeys(node.op_type for node in model.graph.node)
    kinds = [kind for kind in SUSPECTS if kind in there] + [kind for kind in there if kind not in SUSPECTS]
    yield ()
    yield from ((kind,) for kind in kinds)
    for count in range(2, len(kinds) + 1, max(1, len(kinds) // 4)):
        yield kinds[:count]
    yield kinds
