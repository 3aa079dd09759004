"""The operators that torch.onnx knows, read from their sources once: by itself it reads them each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
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
