"""What the layers of a TensorRT engine compute in, read from TensorRT's own description of the engine.

The engine inspector gives this text (LayerInformationFormat.ONELINE), and the builder logs it where profiling
is DETAILED: so it can be had without a GPU, where an engine is built and cannot be loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEAD = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), ", re.MULTILINE)
_TYPE = re.compile(r"(?:Format/)?Datatype: ([^,}]*)")
_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f\[\s]|$)")
_TYPES = (
    ("bf16", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("fp16", "float16"),
    ("half", "float16"),
    ("fp32", "float32"),
    ("float", "float32"),
    ("fp8", "float8"),
    ("uint8", "uint8"),
    ("int8", "int8"),
    ("int4", "int4"),
    ("int32", "int32"),
    ("int64", "int64"),
    ("bool", "bool"),
)
"""What TensorRT's texts call a type, as "Int8" or "Row major linear FP16 format", to its name."""
_INDICES = ("int32", "int64", "bool")


@dataclass(frozen=True)
class Layer:
    """A layer of a built engine: one kernel, for one or several nodes of the ONNX file."""

    name: str
    kind: str
    """TensorRT's word for it, as "correlation" or "CaskConvolution"."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    """The types of its activations, as "int8"."""
    nodes: tuple[str, ...]
    """The names of the ONNX nodes that it stands for, where TensorRT says."""

    @property
    def precision(self) -> str:
        """What it computes in: the type of its first input that is no index; "" where it has no inputs."""
        values = [type_ for type_ in self.inputs if type_ not in _INDICES]
        return next(iter(values or self.inputs), "")


def layers(text: str) -> tuple[Layer, ...]:
    """Read TensorRT's description of an engine, line by line; lines that are no layer's are passed over."""
    found = list(_HEAD.finditer(text))
    ends = [*(head.start() for head in found[1:]), len(text)]
    return tuple(
        Layer(
            head["name"],
            head["kind"],
            tuple(_types(_part(body, "Inputs"))),
            tuple(_types(_part(body, "Outputs"))),
            tuple(dict.fromkeys(_NODE.findall(body))),
        )
        for head, body in ((head, text[head.end() : end]) for head, end in zip(found, ends))
    )


def _part(body: str, name: str) -> str:
    """Return what is in the brackets after `name: `, which may hold brackets."""
    start = body.find(f"{name}: [")
    if start < 0:
        return ""
    start += len(name) + 3
    depth = 0
    for index in range(start - 1, len(body)):
        depth += {"[": 1, "]": -1}.get(body[index], 0)
        if depth == 0:
            return body[start:index]
    return body[start:]


def _types(part: str) -> Iterator[str]:
    for said in _TYPE.findall(part):
        lower = said.lower()
        yield next((name for word, name in _TYPES if word in lower), said.strip())
