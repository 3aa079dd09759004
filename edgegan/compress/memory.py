"""How much memory a pass over a network takes, so that batches are cut by bytes and not by count."""

from __future__ import annotations

from math import prod

from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.rewrite.graph import elements
from edgegan.runtime.contract import Contract

ROOM = 128 << 20
"""Bytes that the tensors of one pass may take together, unless a single sample takes more."""
PORTS_ROOM = 16 << 20
"""The same for inputs and outputs alone: what lies between them takes some tens as much."""
MOST_TAPE = 768 << 20
"""Bytes that a single sample's way back may take; a graph that needs more has none."""
TAPE = 1.5
"""What a backward pass holds, relative to all tensors of the graph: their gradients pass by."""

WEIGHTS = 8
"""Copies of a graph's weights that are there at once."""


def samples(each: int, most: int = 1 << 16) -> int:
    """Return how many samples fit the room where one takes `each` bytes: one at least, `most` at most."""
    return max(1, min(most, ROOM // max(1, each)))


def samples_of(contract: Contract, most: int) -> int:
    """Return how many samples fit where inputs and outputs alone are known: two at least, `most` at most."""
    each = sum(4 * prod(port.shape) for port in (*contract.inputs, *contract.outputs))
    return min(most, max(2, PORTS_ROOM // max(1, each)))


def live_bytes(graph: GraphModule) -> int:
    """Return the bytes of one sample's tensors that are alive at once, at the most, in a forward pass."""
    last: dict[Node, Node] = {}
    for node in graph.graph.nodes:
        last.update(dict.fromkeys(node.all_input_nodes, node))
    dies: dict[Node, list[Node]] = {}
    for node, reader in last.items():
        dies.setdefault(reader, []).append(node)
    alive = most = 0
    for node in graph.graph.nodes:
        alive += _bytes(node)
        most = max(most, alive)
        alive -= sum(map(_bytes, dies.get(node, [])))
    return most


def tape_bytes(graph: GraphModule) -> int:
    """Return the bytes of one sample in a pass that keeps all tensors for the way back."""
    return int(TAPE * sum(map(_bytes, graph.graph.nodes)))


def most_bytes(graph: GraphModule) -> int:
    """Return about how many bytes quantizing a graph takes at the most, beside what is imported."""
    weights = sum(value.numel() * value.element_size() for value in graph.state_dict().values())
    passes = 4 * max(ROOM, live_bytes(graph))
    return passes + max(ROOM, min(tape_bytes(graph), MOST_TAPE)) + WEIGHTS * weights


def _bytes(node: Node) -> int:
    value = node.meta.get("val")
    if node.op not in ("placeholder", "call_function") or not isinstance(value, Tensor):
        return 0
    return elements(node) * value.element_size()
