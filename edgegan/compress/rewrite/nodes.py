"""What rewrites ask of a graph's nodes, and how they put others in their place."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from sympy import sympify
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

aten = torch.ops.aten

TRACED_BATCH = 2
"""The size that the free batch axis stands for in a graph's shapes."""


def constant(graph: GraphModule, node: object) -> Tensor | None:
    """Return the tensor that `node` reads from the module, or None where it is computed."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value: object = graph
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value.detach() if isinstance(value, Tensor) else None


def add_constant(graph: GraphModule, name: str, value: Tensor) -> Node:
    """Store `value` in the module as a parameter near `name`; return the node that reads it.

    Call it within `graph.graph.inserting_before(...)`.
    """
    path, _, leaf = name.rpartition(".")
    owner: nn.Module = graph
    for part in path.split(".") if path else []:
        if not isinstance(getattr(owner, part, None), nn.Module):
            setattr(owner, part, nn.Module())
        owner = getattr(owner, part)
    unique, count = leaf, 2
    while hasattr(owner, unique):
        unique, count = f"{leaf}_{count}", count + 1
    owner.register_parameter(unique, nn.Parameter(value.contiguous(), requires_grad=False))
    node = graph.graph.get_attr(f"{path}.{unique}" if path else unique)
    node.meta["val"] = value
    return node


def layer_of(node: object) -> str:
    """Return the name of the layer whose weight `node` reads."""
    return str(node.target).rpartition(".")[0] if isinstance(node, Node) else ""


def argument(node: Node, position: int, name: str, default: Any = None) -> Any:
    """Return an operator's argument, however it was passed."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def shape(node: object) -> tuple[int, ...]:
    """Return the shape of a node's tensor; a free axis is -1."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    if not isinstance(value, Tensor):
        return ()
    return tuple(size if isinstance(size, int) else -1 for size in value.shape)


def lengths(node: Node) -> tuple[Any, ...]:
    """Return the sizes of a node's tensor behind batch and channels; of free ones what they are, in sympy."""
    sizes = node.meta["val"].shape[2:]
    return tuple(size if isinstance(size, int) else size.node.expr for size in sizes)


def traced(node: object) -> tuple[int, ...]:
    """Return the shape of a node's tensor, of free axes the length that they were traced at."""
    value = node.meta["val"] if isinstance(node, Node) else None
    assert isinstance(value, Tensor)
    return tuple(size if isinstance(size, int) else size.node.hint for size in value.shape)


def elements(node: Node) -> int:
    """Return how many values of one sample a node's tensor holds; 0 where it gives no tensor.

    The batch axis may lie anywhere, alone or merged with others; a tensor without one is its own sample.
    """
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return 0
    sizes = [size.node.hint if isinstance(size, torch.SymInt) else size for size in value.shape]
    free = any(isinstance(size, torch.SymInt) for size in value.shape)
    return prod(sizes) // TRACED_BATCH if free else prod(sizes)


def factors(resize: Node) -> tuple[int, ...] | None:
    """Return by how much a resizing multiplies each axis behind batch and channels; None where not whole."""
    pairs = list(zip(lengths(resize.args[0]), lengths(resize)))  # pyright: ignore[reportArgumentType]
    whole = [sympify(after) / sympify(before) for before, after in pairs]
    return tuple(map(int, whole)) if all(ratio.is_Integer for ratio in whole) else None


def only_reader(node: Node, reader: Node) -> bool:
    """Whether `reader` alone reads `node`."""
    return list(node.users) == [reader]


def replace(node: Node, by: Node) -> None:
    """Let `by` take the place of `node`."""
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)


def depends_on(node: Node, known: dict[Node, frozenset[Node]]) -> frozenset[Node]:
    """Return the inputs of the graph behind `node`; `known` holds those of the nodes before it."""
    if node.op == "placeholder":
        return frozenset([node])
    return frozenset().union(*(known[source] for source in node.all_input_nodes))


def fixed(graph: GraphModule) -> set[Node]:
    """Return the nodes in whose values no input, no free size and no chance has a say."""
    found: set[Node] = set()
    for node in graph.graph.nodes:
        called = node.op == "call_function" and not _varies(node.target)
        if node.op == "get_attr" or (called and all(source in found for source in node.all_input_nodes)):
            found.add(node)
    return found


def _varies(target: Any) -> bool:
    chance = torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())
    return chance or (isinstance(target, OpOverload) and target._schema.is_mutable)


def evaluate(graph: GraphModule, node: Node, inputs: Mapping[Node, Any]) -> Any:
    """Compute one node's value from the values of the inputs that it depends on."""
    values: dict[Node, Any] = dict(inputs)

    def value(source: Node) -> Any:
        if source not in values:
            if source.op == "get_attr":
                values[source] = constant(graph, source)
            else:
                args, kwargs = map_arg((source.args, source.kwargs), value)
                values[source] = source.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]
        return values[source]

    with torch.no_grad():
        return value(node)
