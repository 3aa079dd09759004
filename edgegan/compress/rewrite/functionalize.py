"""Operators that write over their input, as ones that do not: rewrites then know one form of each."""

from __future__ import annotations

from operator import getitem

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node

aten = torch.ops.aten


def without_mutations(graph: GraphModule) -> None:
    """Replace `relu_`, `add_` and their like, where nothing else can see that they write over their input."""
    order = {node: index for index, node in enumerate(graph.graph.nodes)}
    for node in list(graph.graph.nodes):
        functional = _functional(node)
        source = node.args[0] if node.args else None
        if functional is None or not isinstance(source, Node) or not _unseen(node, source, order):
            continue
        node.target = functional
        source.replace_all_uses_with(node, lambda user, at=order[node]: order[user] > at)


def _functional(node: Node) -> OpOverload | None:
    """Return the operator of the same arguments and result that writes nothing over, or None."""
    target = node.target
    if not isinstance(target, OpOverload) or not target._schema.is_mutable:
        return None
    name = target._schema.name.partition("::")[2].removesuffix("_")
    other = getattr(getattr(aten, name, None), target._overloadname, None)
    if not isinstance(other, OpOverload) or other._schema.is_mutable or _names(other) != _names(target):
        return None
    values = [source.meta.get("val") for source in node.all_input_nodes]
    types = {value.dtype for value in values if isinstance(value, Tensor)}
    return other if len(types) == 1 else None


def _names(target: OpOverload) -> list[str]:
    return [argument.name for argument in target._schema.arguments[1:]]


def _unseen(node: Node, source: Node, order: dict[Node, int]) -> bool:
    """Whether no view of `source`, and none that `source` is a view of, is read beside `node`."""
    if any(_is_view(user) for user in source.users if order[user] < order[node]):
        return False
    while _is_view(source):
        viewed = source.all_input_nodes[0]
        if len(viewed.users) != 1:
            return False
        source = viewed
    return True


def _is_view(node: Node) -> bool:
    if node.target == getitem:
        return True
    if not isinstance(node.target, OpOverload) or node.target._schema.is_mutable:
        return False
    return any(argument.alias_info is not None for argument in node.target._schema.arguments)
