"""Weights and layers' outputs that a network computes anew at each run, though no input has a say in them."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.fold_batch_norm import OUTPUT_AXIS
from edgegan.compress.rewrite.graph import add_constant, argument, evaluate, replace
from edgegan.runtime.contract import Contract

MOST_VALUES = 1 << 20


def fold_weights(graph: GraphModule, contract: Contract) -> list[Change]:
    """Compute once the weights and biases of layers that rest on constants alone, and such layers' outputs.

    Such are weights scaled at run time (equalized learning rate), normalized by a network's own code, or
    another layer's, transposed; and layers of what a network holds, as of the places of a picture. Outputs of
    more than `MOST_VALUES` are left to be computed.
    """
    constants: dict[Node, str] = {}
    for node in graph.graph.nodes:
        source = _source(node, constants)
        if source is not None:
            constants[node] = source
    changes = []
    for node in list(graph.graph.nodes):
        for index, name in ((1, "weight"), (2, "bias")) if node.target in OUTPUT_AXIS else ():
            operand = argument(node, index, name)
            if operand not in constants or operand.op == "get_attr":
                continue
            with graph.graph.inserting_before(node):
                folded = add_constant(graph, constants[operand], evaluate(graph, operand, {}))
            node.replace_input_with(operand, folded)
            changes.append(
                Change("fold_weights", constants[operand], "x".join(map(str, folded.meta["val"].shape)))
            )
        if node.target in OUTPUT_AXIS and node in constants and node.meta["val"].numel() <= MOST_VALUES:
            with graph.graph.inserting_before(node):
                folded = add_constant(graph, node.name, evaluate(graph, node, {}))
            replace(node, folded)
            changes.append(Change("fold_weights", node.name, "x".join(map(str, folded.meta["val"].shape))))
    return changes


def _source(node: Node, constants: dict[Node, str]) -> str | None:
    """Return the name of the first tensor that a node rests on; None where it rests on inputs, or chance."""
    if node.op == "get_attr":
        return str(node.target)
    chance = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    if node.op != "call_function" or chance or not node.all_input_nodes:
        return None
    sources = [constants.get(source) for source in node.all_input_nodes]
    return None if None in sources else sources[0]
