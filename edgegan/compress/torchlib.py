"""What torch.onnx does otherwise by itself: it reads all of its operators anew, and drops small numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry


@contextmanager
def operators_read_once() -> Iterator[None]:
    """Let exports to ONNX share what was read.

    torch.onnx passes over the operators that nobody registered yet: those of Q/DQ come with torchao, which
    may be imported after the first export.
    """
    quantized = hasattr(torch.ops.quantized_decomposed, "dequantize_per_channel")
    with patch.object(ONNXRegistry, "from_torchlib", staticmethod(_read(quantized))):
        yield


@cache
def _read(quantized: bool) -> Callable[..., Any]:
    return cache(ONNXRegistry.from_torchlib)


@contextmanager
def small_numbers_kept() -> Iterator[None]:
    """Let exports to ONNX keep `x + 1e-8`: onnxscript's optimizer takes it for `x + 0`, and x may be 0."""

    def isclose(one: float, other: float, *, rel_tol: float, abs_tol: float) -> bool:
        return math.isclose(one, other, rel_tol=rel_tol)

    with patch("onnxscript.rewriter._matcher.math", SimpleNamespace(isclose=isclose)):
        yield
