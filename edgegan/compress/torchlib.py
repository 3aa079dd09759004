"""The operators that torch.onnx knows, read from their sources once: by itself it reads them each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

from torch.onnx._internal.exporter._registration import ONNXRegistry


@contextmanager
def operators_read_once() -> Iterator[None]:
    """Let exports to ONNX share what was read."""
    with patch.object(ONNXRegistry, "from_torchlib", staticmethod(_read())):
        yield


@cache
def _read() -> Callable[..., Any]:
    return cache(ONNXRegistry.from_torchlib)
