"""What an ONNX file says of itself and of other files, read without the onnx package.

Only as much of the protobuf wire format as finding a tensor needs:
https://protobuf.dev/programming-guides/encoding and onnx.proto of https://github.com/onnx/onnx.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
_GRAPH, _OPSET_IMPORT = 7, 8
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12
_DOMAIN, _VERSION = 1, 2
_OWN_DOMAINS = (b"", b"ai.onnx")
_ELEMENT_TYPE = (_OUTPUT, 2, 1, 1)
"""From a graph to the type of an output's elements: output, type, tensor_type, elem_type."""
_UINT8 = 2
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


def facts(model: bytes) -> tuple[int, bool]:
    """Return the version of ONNX's own operators that a model uses, and whether it has an output in uint8.

    Raises:
        ValueError: `model` is not well-formed protobuf, or does not say which operators it uses.
    """
    budget = iter(range(MOST_FIELDS))
    opset, uint8_outputs = 0, False
    for number, value in _fields(memoryview(model), budget):
        if number == _OPSET_IMPORT and isinstance(value, memoryview):
            imported = dict(_fields(value, budget))
            if imported.get(_DOMAIN, b"") in _OWN_DOMAINS:
                opset = _whole(imported.get(_VERSION, 0))
        if number == _GRAPH and isinstance(value, memoryview):
            uint8_outputs = _UINT8 in _leaves(value, _ELEMENT_TYPE, budget)
    if not opset:
        raise ValueError("it does not say which operators it uses")
    return opset, uint8_outputs


def names(model: bytes) -> tuple[list[str], list[str]]:
    """Return the names of a model's inputs, without those of its weights, and of its outputs, in their order.

    Raises:
        ValueError: `model` is not well-formed protobuf.
    """
    budget = iter(range(MOST_FIELDS))

    def found(*path: int) -> list[str]:
        leaves = _leaves(memoryview(model), (_GRAPH, *path), budget)
        return [bytes(leaf).decode(errors="replace") for leaf in leaves if isinstance(leaf, memoryview)]

    weights = set(found(_INITIALIZER, _NAME))
    return [name for name in found(_INPUT, 1) if name not in weights], found(_OUTPUT, 1)


def _leaves(message: memoryview, path: Sequence[int], budget: Iterator[int]) -> Iterator[int | memoryview]:
    """Yield the values at the end of a path of field numbers."""
    for number, value in _fields(message, budget):
        if number == path[0]:
            if len(path) == 1:
                yield value
            elif isinstance(value, memoryview):
                yield from _leaves(value, path[1:], budget)


def _whole(value: int | memoryview) -> int:
    return value if isinstance(value, int) else 0


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
