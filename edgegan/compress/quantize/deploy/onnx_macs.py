"""The multiply-accumulates of an ONNX file's layers, counted from the shapes that it runs with."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgegan.compress.operators import LAYERS, RESHAPES

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
KEPT_APART = ("DequantizeLinear", "Cast", "Transpose", *RESHAPES.onnx)
"""Operators between a weight as it is stored and the layer that reads it."""
ROUNDED_TO_ZERO = 0.05
"""A larger share of zeros among a layer's weights is none of rounding's."""
CALL = "@"
"""Before the number of a further call, in the name of a node whose layer runs more than once."""

Shape = tuple[int, ...]
Shapes = Mapping[str, tuple[int, ...]]


def layer_macs(model: onnx.ModelProto, inputs: Shapes = {}) -> dict[str, int]:  # noqa: B006
    """Return the layers of a file in the order in which they run: name to multiply-accumulates of one sample.

    The calls of a shared layer count together; see `node_macs`.

    Args:
        model: the file.
        inputs: input to the shape of one sample; may lack where a file's own shapes are fixed.
    """
    macs: dict[str, int] = {}
    for name, count in node_macs(model, inputs).items():
        layer = name.partition(CALL)[0]
        macs[layer] = macs.get(layer, 0) + count
    return macs


def node_macs(model: onnx.ModelProto, inputs: Shapes = {}) -> dict[str, int]:  # noqa: B006
    """Return the nodes of a file that multiply and accumulate: name to how often, for one sample.

    Products of two activations, as in attention, are among them. Weights that rewrites put there as zeros do
    not count.
    """
    shapes = _shapes(model, inputs)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}
    return {
        node.name: _macs(node, shapes, _weight(node, stored, made))
        for node in model.graph.node
        if is_layer(node)
    }


def is_layer(node: onnx.NodeProto) -> bool:
    """Whether a node multiplies and accumulates; an Einsum of one operand moves and sums alone."""
    return node.op_type in LAYERS.onnx and len(node.input) > 1


def _macs(node: onnx.NodeProto, shapes: dict[str, Shape], weight: NDArray[np.generic] | None) -> int:
    given, operand, result = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        taps = prod(operand) if weight is None else _taps(weight)
        return prod(result[2:]) * result[0] * taps
    if node.op_type == "ConvTranspose":
        return prod(given[2:]) * given[0] * prod(operand)
    if node.op_type == "Einsum":
        return _of_einsum(node, [shapes[name] for name in node.input])
    if node.op_type in GATES:
        steps, batch = given[:2]
        recurrent = shapes[node.input[2]]
        return steps * batch * (prod(operand) + prod(recurrent))
    transposed = any(of.name == "transA" and of.i for of in node.attribute)
    return prod(result) * given[0 if transposed else -1]


def _of_einsum(node: onnx.NodeProto, operands: list[Shape]) -> int:
    equation = next(of.s.decode() for of in node.attribute if of.name == "equation").replace(" ", "")
    sizes: dict[str, int] = {}
    for letters, sized in zip(equation.partition("->")[0].split(","), operands, strict=True):
        first, dots, last = letters.partition("...")
        free = sized[len(first) : len(sized) - len(last)] if dots else ()
        named = [*zip(first, sized), *zip(last, sized[len(sized) - len(last) :])]
        for name, size in [*named, *((f".{len(free) - i}", size) for i, size in enumerate(free))]:
            sizes[name] = max(size, sizes.get(name, 1))
    return prod(sizes.values())


def _taps(weight: NDArray[np.generic]) -> int:
    """Return how many weights there are, but for those that a rewrite put there as zeros.

    Those are many: a few zeros come of rounding.
    """
    others = int(np.count_nonzero(weight))
    return others if others < (1 - ROUNDED_TO_ZERO) * weight.size else weight.size


def _weight(
    node: onnx.NodeProto, stored: dict[str, TensorProto], made: dict[str, onnx.NodeProto]
) -> NDArray[np.generic] | None:
    name = stored_weight(node, made)
    return numpy_helper.to_array(stored[name]) if name in stored else None


def stored_weight(node: onnx.NodeProto, made: dict[str, onnx.NodeProto]) -> str:
    """Return the name of what a layer's second operand is read from; `made` tells what makes a value."""
    name = node.input[1] if len(node.input) > 1 else ""
    while name in made and made[name].op_type in KEPT_APART:
        name = made[name].input[0]
    return name


def _shapes(model: onnx.ModelProto, inputs: Shapes) -> dict[str, Shape]:
    """Return the shapes of what layers read and give, of one sample: the model is run for them.

    Shape inference alone does not get past a reshape by computed sizes.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    layers = [node for node in graph.node if is_layer(node)]
    names = list(dict.fromkeys(name for node in layers for name in (*node.input, node.output[0]) if name))
    del graph.output[:]
    for index, name in enumerate(names):
        graph.node.append(helper.make_node("Shape", [name], [f"shape {index}"]))
        graph.output.append(helper.make_tensor_value_info(f"shape {index}", TensorProto.INT64, None))
    if not names:
        return {}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {port.name: _one_sample(port, inputs) for port in graph.input})
    return {name: tuple(map(int, sizes)) for name, sizes in zip(names, found)}  # pyright: ignore


def _one_sample(port: onnx.ValueInfoProto, inputs: Shapes) -> NDArray[np.generic]:
    tensor = port.type.tensor_type
    sizes = [dim.dim_value or 1 for dim in tensor.shape.dim]
    sizes[1:] = inputs.get(port.name, sizes[1:])
    return np.zeros(sizes, helper.tensor_dtype_to_np_dtype(tensor.elem_type))
