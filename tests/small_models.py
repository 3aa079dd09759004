"""Small ONNX files, encoded by hand: these tests also run where the onnx package is not installed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegan.runtime.contract import Contract, Input, Output

_TYPES = {"float32": 1, "uint8": 2, "int64": 7}
PIXELS = 3 * 16 * 16


def _varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _field(key: int, value: int | str | bytes) -> bytes:
    """One field of a protocol buffer: an integer, or bytes with their length ahead."""
    if isinstance(value, int):
        return _varint(key << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(key << 3 | 2) + _varint(len(content)) + content


def _node(kind: str, inputs: list[str], output: str, **attributes: int) -> bytes:
    fields = [_field(1, name) for name in inputs] + [_field(2, output), _field(4, kind)]
    for name, value in attributes.items():
        fields.append(_field(5, _field(1, name) + _field(3, value) + _field(20, 2)))
    return _field(1, b"".join(fields))


def _tensor(name: str, array: NDArray[Any]) -> bytes:
    dims = b"".join(_field(1, size) for size in array.shape)
    return _field(
        5, dims + _field(2, _TYPES[array.dtype.name]) + _field(8, name) + _field(9, array.tobytes())
    )


def _port(key: int, name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    dims = _field(1, _field(2, "N")) + b"".join(_field(1, _field(1, size)) for size in shape)
    return _field(key, _field(1, name) + _field(2, _field(1, _field(1, _TYPES[dtype]) + _field(2, dims))))


def _model(*graph: bytes) -> bytes:
    opset = _field(1, "") + _field(2, 17)
    return _field(1, 8) + _field(7, b"".join(graph) + _field(2, "g")) + _field(8, opset)


def extractor_bytes(weights: NDArray[np.float32], *, output: str = "features") -> bytes:
    """Images uint8 (N, 16, 16, 3), flattened, times `weights` (768, D)."""
    return _model(
        _node("Cast", ["images"], "float", to=1),
        _node("Flatten", ["float"], "flat", axis=1),
        _node("MatMul", ["flat", "weights"], output),
        _tensor("weights", weights),
        _port(11, "images", "uint8", (16, 16, 3)),
        _port(12, output, "float32", (weights.shape[1],)),
    )


def generator_bytes(*, width: int, depth: int) -> bytes:
    """z (N, 8) through `depth` square layers of `width` to images (N, 3, 16, 16)."""
    rng = np.random.default_rng(0)
    sizes = [8, *[width] * depth, PIXELS]
    graph = []
    for index, (rows, columns) in enumerate(pairwise(sizes)):
        weights = rng.standard_normal((rows, columns), dtype=np.float32) / np.float32(rows**0.5)
        graph += [
            _tensor(f"w{index}", weights),
            _node("MatMul", [f"h{index}" if index else "z", f"w{index}"], f"a{index}"),
            _node("Tanh", [f"a{index}"], f"h{index + 1}"),
        ]
    return _model(
        *graph,
        _tensor("shape", np.array([-1, 3, 16, 16])),
        _node("Reshape", [f"h{len(sizes) - 1}", "shape"], "image"),
        _port(11, "z", "float32", (8,)),
        _port(12, "image", "float32", (3, 16, 16)),
    )


@pytest.fixture
def contract() -> Contract:
    return Contract(inputs=(Input("z", (8,)),), outputs=(Output("image", (3, 16, 16)),))


@pytest.fixture
def generator_file(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, *, width: int = 16, depth: int = 1) -> Path:
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(generator_bytes(width=width, depth=depth))
        return path

    return write


@pytest.fixture
def extractor_file(tmp_path: Path) -> Callable[..., Path]:
    def write(
        name: str = "features", *, seed: int = 0, weights: NDArray[np.float32] | None = None, **options: Any
    ) -> Path:
        if weights is None:
            weights = np.random.default_rng(seed).standard_normal((PIXELS, 5), dtype=np.float32)
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(extractor_bytes(weights, **options))
        return path

    return write
