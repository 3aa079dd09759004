"""What comes to one multiply and one add a channel: batch norms in eval mode, and products and sums."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.rewrite.graph import argument, aten, constant, layer_of, only_reader, shape


@dataclass(frozen=True)
class Affine:
    """`node` = source * scale + shift; both are (C,) in float64, for axis 1."""

    node: Node
    first: Node
    """What reads the source: `node` itself, or the product that `node` adds to."""
    position: int
    """Which argument of `first` is the source."""
    name: str
    """The layer's name, or the node's where it has none."""
    scale: Tensor
    shift: Tensor

    @property
    def source(self) -> Node:
        """What is scaled and shifted."""
        return self.first.args[self.position]  # pyright: ignore[reportReturnType]

    def remove(self) -> None:
        """Let the source take the place of `node`."""
        self.node.replace_all_uses_with(self.source)
        self.node.graph.erase_node(self.node)
        if self.first is not self.node:
            self.first.graph.erase_node(self.first)


def batch_norms(graph: GraphModule) -> list[Affine]:
    """Return the batch norms in eval mode, in the order in which they run."""
    return [found for node in graph.graph.nodes if (found := _batch_norm(graph, node)) is not None]


def affines(graph: GraphModule) -> list[Affine]:
    """Return the batch norms, and the products and sums with constants, in the order in which they run."""
    found = []
    for node in graph.graph.nodes:
        affine = _batch_norm(graph, node) or _arithmetic(graph, node)
        if affine is not None:
            found.append(affine)
    return found


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
    return Affine(node, node, 0, layer_of(node.args[3]), scale, shift)


def _arithmetic(graph: GraphModule, node: Node) -> Affine | None:
    if node.target == aten.mul.Tensor:
        factor = _operand(graph, node, aten.mul.Tensor)
        readers = list(node.users)
        if factor is None or (len(readers) == 1 and _operand(graph, readers[0], aten.add.Tensor)):
            return None
        position, name, scale = factor
        return Affine(node, node, position, name, scale, torch.zeros_like(scale))
    term = _operand(graph, node, aten.add.Tensor)
    if term is None:
        return None
    position, name, shift = term
    first = node.args[position]
    assert isinstance(first, Node)
    factor = _operand(graph, first, aten.mul.Tensor) if only_reader(first, node) else None
    if factor is None:
        return Affine(node, node, position, name, torch.ones_like(shift), shift)
    return Affine(node, first, factor[0], factor[1], factor[2], shift)


def _operand(graph: GraphModule, node: Node, target: object) -> tuple[int, str, Tensor] | None:
    """Return the position of what a constant is combined with, the constant's name, and it as (C,)."""
    size = shape(node)
    if node.target != target or len(node.args) != 2 or node.kwargs or len(size) < 2 or size[1] == -1:
        return None
    if not node.meta["val"].is_floating_point():
        return None
    for position, other in enumerate(reversed(node.args)):
        source = node.args[position]
        if not isinstance(source, Node) or shape(source) != size:
            continue
        if isinstance(other, (int, float)):
            return position, node.name, torch.full((size[1],), float(other), dtype=torch.float64)
        value = constant(graph, other)
        if value is not None and (1,) * (len(size) - value.dim()) + tuple(value.shape) in _per_channel(size):
            name = layer_of(other) or node.name
            return position, name, value.double().reshape(-1).expand(size[1]).clone()
    return None


def _per_channel(size: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    ones = (1,) * (len(size) - 2)
    return (1, size[1], *ones), (1, 1, *ones)
