"""The layers of a graph that can be quantized: their names, what they cost, and which paint the output."""

from __future__ import annotations

from collections import Counter

import torch
from torch.fx import GraphModule, Node

from edgegan.compress.operators import INT8_LAYERS
from edgegan.compress.rewrite.graph import argument, aten, constant, elements, layer_of


def layer_names(graph: GraphModule) -> dict[Node, str]:
    """Return the layers with constant weights, in float32, in the order in which they run: node to name.

    The calls of a shared layer have one name. Where a module has several weights, the name tells which.
    """
    read = {
        node: argument(node, 1, "weight") for node in graph.graph.nodes if node.target in INT8_LAYERS.torch
    }
    weights = {
        node: weight
        for node, weight in read.items()
        if (value := constant(graph, weight)) is not None and value.dtype == torch.float32
    }
    owners = {str(weight.target): layer_of(weight) for weight in weights.values()}
    count = Counter(owners.values())
    return {
        node: owners[target] if count[owners[target]] == 1 and owners[target] else target
        for node, target in ((node, str(weight.target)) for node, weight in weights.items())
    }


def layer_macs(graph: GraphModule) -> dict[str, int]:
    """Return the layers that can be quantized, in the order in which they run: name to MACs of one sample.

    Weights that are zero do not count: rewrites put them where a layer has no taps.
    """
    macs: dict[str, int] = {}
    for node, name in layer_names(graph).items():
        weight = constant(graph, argument(node, 1, "weight"))
        assert weight is not None
        positions = elements(node) // len(weight)
        macs[name] = macs.get(name, 0) + positions * int(weight.count_nonzero())
    return macs


def last_layers(graph: GraphModule) -> dict[str, bool]:
    """Return the layers that no other reads from, those that paint the output: name to whether linear."""
    names = layer_names(graph)
    followed: set[Node] = set()
    last = {}
    for node in reversed(graph.graph.nodes):
        if node in names and node not in followed:
            last[names[node]] = node.target == aten.linear.default
        if node.target in INT8_LAYERS.torch or node in followed:
            followed |= set(node.all_input_nodes)
    return last
