"""The names of layers, given to the nodes of the ONNX file that they become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import onnx
import torch
from torch.fx import GraphModule, Node

from edgegan.compress.operators import INT8_LAYERS
from edgegan.compress.quantize.deploy.onnx_macs import CALL, GATES, is_layer, stored_weight
from edgegan.compress.rewrite.graph import argument, aten, constant, layer_of

RECURRENT = (aten.gru.input, aten.lstm.input, aten.rnn_tanh.input, aten.rnn_relu.input)


def name_layers(model: onnx.ModelProto, graph: GraphModule, names: Sequence[str]) -> None:
    """Name the nodes of `model` that are layers; further calls of a shared one are `name@2` and on.

    Weights tell which node is which layer: engines want them in other operators than torch has, and in other
    numbers. Products of two activations have one name for all of a kind.

    Args:
        model: exported from `graph`; its nodes get their names in place.
        graph: in float or in Q/DQ form.
        names: of its layers with constant weights, in the order in which they run (`layer_names`).
    """
    weights = [weight for node in graph.graph.nodes if (weight := _stored(graph, node)) is not None]
    known = dict(zip(weights, names, strict=True))
    recurrent = [
        layer_of(node.args[2][0])
        for node in graph.graph.nodes
        for _ in range(node.args[4] if node.target in RECURRENT else 0)
    ]
    stored = {tensor.name for tensor in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}
    nodes = {id(node): (node, stored_weight(node, made)) for node in model.graph.node if is_layer(node)}
    found = {name for _, name in nodes.values()}
    folded = [name for weight, name in known.items() if weight not in found]
    used: Counter[str] = Counter()
    for node, weight in nodes.values():
        if node.op_type in GATES:
            name = recurrent.pop(0) if recurrent else node.name
        elif weight in known:
            name = known[weight]
        elif owner := weight.rpartition(".")[0]:
            name = owner
        else:
            name = node.name if weight in stored else f"{node.op_type} of activations"
            name = folded.pop(0) if weight in stored and folded else name
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}{CALL}{used[name]}"


def _stored(graph: GraphModule, node: Node) -> str | None:
    """Return the name of a layer's weight as `graph` stores it; None where it has none, or computes it."""
    if node.target not in INT8_LAYERS.torch:
        return None
    weight = argument(node, 1, "weight")
    if "dequantize" in str(weight.target):
        weight = weight.args[0]
    value = constant(graph, weight)
    return str(weight.target) if value is not None and value.dtype in (torch.int8, torch.float32) else None
