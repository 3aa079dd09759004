"""What an ONNX file says of other files, read without the onnx package.

Only as much of the protobuf wire format as finding a tensor needs:
https://protobuf.dev/programming-guides/encoding and onnx.proto of https://github.com/onnx/onnx.
"""

from __future__ import annotations

from collections.abc import Iterator

_TENSOR = "TensorProto"
_CHILDREN: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: _TENSOR, 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: _TENSOR,
        6: "GraphProto",
        10: _TENSOR,
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: _TENSOR, 2: _TENSOR},
}
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
MOST_FIELDS = 1_000_000
"""A model of 20,000 nodes has fewer; to look at so many takes a few seconds."""


def external_tensors(model: bytes) -> list[str]:
    """Return the names of the tensors whose values an ONNX model keeps in other files.

    Looks at initializers, sparse ones, attributes, subgraphs and functions.

    Raises:
        ValueError: `model` is not well-formed protobuf.
    """
    found: list[str] = []
    budget = iter(range(MOST_FIELDS))
    pending = [("ModelProto", memoryview(model))]
    while pending:
        kind, message = pending.pop()
        if kind == _TENSOR:
            name = _external_name(message, budget)
            found += [] if name is None else [name]
            continue
        children = _CHILDREN[kind]
        for number, value in _fields(message, budget):
            if number in children and isinstance(value, memoryview):
                pending.append((children[number], value))
    return found


def _external_name(tensor: memoryview, budget: Iterator[int]) -> str | None:
    """Return the tensor's name where its values are elsewhere."""
    name, elsewhere = "", False
    for number, value in _fields(tensor, budget):
        if number == _NAME and isinstance(value, memoryview):
            name = bytes(value).decode(errors="replace")
        elsewhere |= number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
    return name if elsewhere else None


def _fields(message: memoryview, budget: Iterator[int]) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field, as long as `budget`, which all messages share, lasts."""
    position = 0
    while position < len(message):
        if next(budget, None) is None:
            raise ValueError(f"it has more than {MOST_FIELDS} fields")
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag >= 1 << 32:
            raise ValueError(f"a field has the number {number}")
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == _BYTES:
            size, position = _varint(message, position)
        elif wire in _WIDTHS:
            size = _WIDTHS[wire]
        else:
            raise ValueError(f"field {number} has the wire type {wire}")
        if position + size > len(message):
            raise ValueError(f"field {number} is cut off")
        yield number, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if position + index >= len(message):
            raise ValueError("a number is cut off")
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("a number is longer than 64 bits")
