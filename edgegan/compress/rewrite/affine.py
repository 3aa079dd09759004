"""What comes to one multiply and one add a channel: batch norms in eval mode, and products and sums."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.rewrite.graph import argument, aten, constant, layer_of, shape


@dataclass(frozen=True)
class Affine:
    """y = x * scale + shift; both are (C,) in float64, for axis 1."""

    nodes: tuple[Node, ...]
    """The operators that compute it, each of which alone reads the one before."""
    position: int
    """Which argument of the first operator is x."""
    name: str
    """The layer's name, or the node's where it has none."""
    scale: Tensor
    shift: Tensor

    @property
    def source(self) -> Node:
        """The node of x."""
        return self.nodes[0].args[self.position]  # pyright: ignore[reportReturnType]

    @property
    def node(self) -> Node:
        """The node of y."""
        return self.nodes[-1]

    @property
    def is_plain(self) -> bool:
        """Whether it is a multiply, an add, or a multiply and then an add, and nothing else."""
        targets = [node.target for node in self.nodes]
        return targets in ([aten.mul.Tensor], [aten.add.Tensor], [aten.mul.Tensor, aten.add.Tensor])

    def remove(self) -> None:
        """Let x take the place of y."""
        self.node.replace_all_uses_with(self.source)
        for node in reversed(self.nodes):
            node.graph.erase_node(node)


def batch_norms(graph: GraphModule) -> list[Affine]:
    """Return the batch norms in eval mode, in the order in which they run."""
    return [found for node in graph.graph.nodes if (found := _batch_norm(graph, node)) is not None]


def affines(graph: GraphModule) -> list[Affine]:
    """Return the batch norms, and products and sums with constants, in the order in which they run.

    Those that follow each other with no other reader between are one.
    """
    found: dict[Node, Affine] = {}
    for node in graph.graph.nodes:
        affine = _batch_norm(graph, node) or _arithmetic(graph, node)
        if affine is None:
            continue
        before = found.get(affine.source)
        if before is not None and len(affine.source.users) == 1:
            del found[before.node]
            affine = _composed(before, affine)
        found[node] = affine
    return list(found.values())


def _composed(first: Affine, second: Affine) -> Affine:
    scale, shift = first.scale * second.scale, first.shift * second.scale + second.shift
    return Affine((*first.nodes, *second.nodes), first.position, first.name, scale, shift)


def _batch_norm(graph: GraphModule, node: Node) -> Affine | None:
    if node.target != aten.batch_norm.default or argument(node, 5, "training"):
        return None
    mean = constant(graph, argument(node, 3, "running_mean"))
    variance = constant(graph, argument(node, 4, "running_var"))
    weight_node, bias_node = argument(node, 1, "weight"), argument(node, 2, "bias")
    weight, bias = constant(graph, weight_node), constant(graph, bias_node)
    if mean is None or variance is None or len(shape(node)) < 2:
        return None
    if (weight is None) != (weight_node is None) or (bias is None) != (bias_node is None):
        return None
    scale = (variance.double() + argument(node, 7, "eps")).rsqrt()
    if weight is not None:
        scale = scale * weight.double()
    shift = -mean.double() * scale
    if bias is not None:
        shift = shift + bias.double()
    return Affine((node,), 0, layer_of(node.args[3]), scale, shift)


def _arithmetic(graph: GraphModule, node: Node) -> Affine | None:
    size = shape(node)
    if node.target not in (aten.mul.Tensor, aten.add.Tensor) or len(node.args) != 2 or node.kwargs:
        return None
    if len(size) < 2 or size[1] == -1 or not node.meta["val"].is_floating_point():
        return None
    for position, other in enumerate(reversed(node.args)):
        source = node.args[position]
        value = _per_channel(graph, other, size)
        if value is None or not isinstance(source, Node) or shape(source) != size:
            continue
        name = layer_of(other) or node.name
        if node.target == aten.mul.Tensor:
            return Affine((node,), position, name, value, torch.zeros_like(value))
        return Affine((node,), position, name, torch.ones_like(value), value)
    return None


def _per_channel(graph: GraphModule, operand: object, size: tuple[int, ...]) -> Tensor | None:
    """Return a constant as (C,) in float64; None where it is none, or not one number a channel of `size`."""
    if isinstance(operand, (int, float)):
        return torch.full((size[1],), float(operand), dtype=torch.float64)
    value = constant(graph, operand)
    if value is None or value.dim() > len(size):
        return None
    wide = (1,) * (len(size) - value.dim()) + tuple(value.shape)
    ones = (1,) * (len(size) - 2)
    if wide not in ((1, size[1], *ones), (1, 1, *ones)):
        return None
    return value.double().reshape(-1).expand(size[1]).clone()
