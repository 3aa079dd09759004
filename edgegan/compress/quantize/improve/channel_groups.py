"""Which tensors of a graph have channels that must be scaled alike for its outputs to stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.operators import CONVOLUTIONS, INT8_LAYERS, RESHAPES
from edgegan.compress.rewrite.graph import argument, aten, constant, shape

HOMOGENEOUS = (
    aten.relu.default,
    aten.leaky_relu.default,
    aten.prelu.default,
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
    aten.upsample_nearest3d.vec,
    aten.max_pool2d.default,
    aten.slice.Tensor,
    aten.pad.default,
)


@dataclass
class Groups:
    """Tensors whose channels must be scaled alike: `parent` leads from a node towards its group's name."""

    parent: dict[Node, Node] = field(default_factory=dict)
    repeats: dict[Node, int] = field(default_factory=dict)
    """How many neighbouring channels of a node share one scale."""
    fixed: set[Node] = field(default_factory=set)
    """Nodes whose scale must stay 1."""
    layers: set[Node] = field(default_factory=set)
    norms: set[Node] = field(default_factory=set)
    """Instance norms: they take the scales of what they read away, and give those of a group of their own."""
    constants: dict[Node, Node] = field(default_factory=dict)
    """A multiplication or addition, to the other operand: numbers that no input but a label has a say in."""

    def add(self, node: Node) -> None:
        """Take in a node, as a group of its own."""
        self.parent[node], self.repeats[node] = node, 1

    def name(self, node: Node) -> Node:
        """Return the node that a node's group is named by."""
        while self.parent[node] is not node:
            node = self.parent[node]
        return node

    def members(self, node: Node) -> list[Node]:
        """Return the nodes of a node's group."""
        return [other for other in self.parent if self.name(other) is self.name(node)]

    def join(self, wide: Node, narrow: Node, factor: int = 1) -> None:
        """Say that channels `factor * c` and on of `wide` are channel c of `narrow`."""
        if wide not in self.parent or shape(wide)[1] != factor * shape(narrow)[1]:
            self.fixed |= {wide, narrow}
            return
        for coarse, fine in ((self.repeats[narrow] * factor, wide), (self.repeats[wide], narrow)):
            present = self.repeats[fine] * (1 if fine is wide else factor)
            if coarse > present:
                for member in self.members(fine):
                    self.repeats[member] *= coarse // present
        self.parent[self.name(narrow)] = self.name(wide)


def grouped(graph: GraphModule) -> Groups:
    """Return the groups of a graph's tensors."""
    groups = Groups()
    for node in graph.graph.nodes:
        if node.op == "call_function" and len(shape(node)) >= 2 and constant_of(graph, node) is None:
            groups.add(node)
            if not _place(graph, groups, node):
                groups.fixed |= {node, *node.all_input_nodes}
        elif node.op != "get_attr" and node.target != aten.sym_size.int:
            groups.fixed |= {node, *node.all_input_nodes}
    names = {groups.name(node) for node in groups.fixed if node in groups.parent}
    groups.fixed = {node for node in groups.parent if groups.name(node) in names}
    return groups


def _place(graph: GraphModule, groups: Groups, node: Node) -> bool:
    """Join `node` to the groups of its inputs, or note what makes it; False where its kind is not known."""
    source, target = node.args[0], node.target
    if not isinstance(source, Node):
        return False
    if target in INT8_LAYERS.torch:
        weight = argument(node, 1, "weight")
        plain = len(weight.users) == 1 and argument(node, 6, "groups", 1) == 1
        if not plain or constant(graph, weight) is None or not _known(graph, argument(node, 2, "bias")):
            return False
        if target not in CONVOLUTIONS and len(shape(node)) != 2:
            return False
        groups.layers.add(node)
    elif target in HOMOGENEOUS:
        if target == aten.slice.Tensor and argument(node, 1, "dim", 0) < 2:
            return False
        if target == aten.pad.default and not _pads_positions(node):
            return False
        groups.join(source, node)
    elif target == aten.instance_norm.default:
        operands = argument(node, 1, "weight"), argument(node, 2, "bias")
        if not argument(node, 5, "use_input_stats") or not all(_known(graph, of) for of in operands):
            return False
        groups.norms.add(node)
    elif target == aten.pixel_shuffle.default:
        groups.join(source, node, argument(node, 1, "upscale_factor") ** 2)
    elif target == aten.pixel_unshuffle.default and source in groups.parent:
        groups.join(node, source, argument(node, 1, "downscale_factor") ** 2)
    elif target in RESHAPES.torch and len(shape(source)) == 2:
        groups.join(source, node, prod(shape(node)[2:]))
    elif target in (aten.add.Tensor, aten.mul.Tensor) and len(node.args) == 2 and not node.kwargs:
        return _place_arithmetic(graph, groups, node)
    else:
        return False
    return True


def _place_arithmetic(graph: GraphModule, groups: Groups, node: Node) -> bool:
    constants = [value for value in node.all_input_nodes if constant_of(graph, value) is not None]
    values = [value for value in node.all_input_nodes if value not in constants]
    if not values or any(shape(value) != shape(node) for value in values):
        return False
    if not all(isinstance(value, Node) for value in node.args):
        if node.target == aten.mul.Tensor:
            groups.join(values[0], node)
        return node.target == aten.mul.Tensor
    if len(constants) == 1 and len(values) == 1 and len(shape(constants[0])) == len(shape(node)):
        groups.constants[node] = constants[0]
    elif constants or node.target == aten.mul.Tensor:
        return False
    if node.target == aten.add.Tensor:
        for value in values:
            groups.join(value, node)
    return True


def _known(graph: GraphModule, operand: object) -> bool:
    return operand is None or constant(graph, operand) is not None


def _pads_positions(node: Node) -> bool:
    """Whether an aten.pad leaves the channels alone, and pads with zeros or what is there."""
    return len(argument(node, 1, "pad")) <= 2 * (len(shape(node)) - 2) and not argument(node, 3, "value")


def constant_of(graph: GraphModule, node: Node) -> Tensor | None:
    """Return the (1 or classes, C or 1, ...) numbers behind a node; None where inputs have a say."""
    source = node.args[0] if node.target == aten.index_select.default else node
    value = constant(graph, source)
    if value is None or value.dim() < 2:
        return None
    return value if source is not node or len(value) == 1 else None
