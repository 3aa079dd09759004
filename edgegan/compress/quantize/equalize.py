"""Channels brought to one range before they share one scale, without any change of the outputs.

Cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721), over residual sums and conditional norms too:
a channel multiplied by s where it is made is divided by s wherever it is read, as long as all that lies
between is positively homogeneous.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from edgegan.compress.inputs import example
from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.graph import add_constant, argument, aten, constant, layer_of, shape
from edgegan.runtime.contract import Contract

SAMPLES = 64
SEED = 0xE9
LARGEST = 64.0
"""No channel is scaled by more than this, or less than its inverse, relative to the middle one."""

LAYERS = (aten.conv1d.default, aten.conv2d.default, aten.linear.default)
HOMOGENEOUS = (
    aten.relu.default,
    aten.leaky_relu.default,
    aten.prelu.default,
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
    aten.max_pool2d.default,
    aten.slice.Tensor,
)
RESHAPES = (aten.reshape.default, aten.view.default, aten.unflatten.int)


def equalize_channels(graph: GraphModule, contract: Contract) -> list[Change]:
    """Scale the channels of each tensor between layers to one range, as far as this is exact."""
    groups = _grouped(graph)
    scales = _scales(graph, contract, groups)
    changes = []
    for node in list(graph.graph.nodes):
        if node in groups.layers:
            changes += _rescale_layer(graph, node, scales)
        elif node in groups.constants:
            _rescale_constant(graph, node, groups.constants[node], scales)
    return changes


@dataclass
class _Groups:
    """Tensors whose channels must be scaled alike: `parent` leads from a node towards its group's name."""

    parent: dict[Node, Node] = field(default_factory=dict)
    repeats: dict[Node, int] = field(default_factory=dict)
    """How many neighbouring channels of a node share one scale."""
    fixed: set[Node] = field(default_factory=set)
    """Nodes whose scale must stay 1."""
    layers: set[Node] = field(default_factory=set)
    constants: dict[Node, Node] = field(default_factory=dict)
    """A multiplication or addition, to the other operand: a number a channel, and perhaps a label."""

    def add(self, node: Node) -> None:
        self.parent[node], self.repeats[node] = node, 1

    def name(self, node: Node) -> Node:
        while self.parent[node] is not node:
            node = self.parent[node]
        return node

    def members(self, node: Node) -> list[Node]:
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


def _grouped(graph: GraphModule) -> _Groups:
    groups = _Groups()
    for node in graph.graph.nodes:
        if node.op == "call_function" and len(shape(node)) >= 2 and _constant_of(graph, node) is None:
            groups.add(node)
            if not _place(graph, groups, node):
                groups.fixed |= {node, *node.all_input_nodes}
        elif node.op in ("placeholder", "output"):
            groups.fixed |= {node, *node.all_input_nodes}
    names = {groups.name(node) for node in groups.fixed if node in groups.parent}
    groups.fixed = {node for node in groups.parent if groups.name(node) in names}
    return groups


def _place(graph: GraphModule, groups: _Groups, node: Node) -> bool:
    """Join `node` to the groups of its inputs, or note what makes it; False where its kind is not known."""
    source, target = node.args[0], node.target
    if not isinstance(source, Node):
        return False
    if target in LAYERS:
        weight = argument(node, 1, "weight")
        plain = len(weight.users) == 1 and argument(node, 6, "groups", 1) == 1
        if not plain or constant(graph, weight) is None or (target == LAYERS[-1] and len(shape(node)) != 2):
            return False
        groups.layers.add(node)
    elif target in HOMOGENEOUS:
        if target == aten.slice.Tensor and argument(node, 1, "dim", 0) < 2:
            return False
        groups.join(source, node)
    elif target == aten.pixel_shuffle.default:
        groups.join(source, node, argument(node, 1, "upscale_factor") ** 2)
    elif target in RESHAPES and len(shape(source)) == 2:
        groups.join(source, node, prod(shape(node)[2:]))
    elif target in (aten.add.Tensor, aten.mul.Tensor) and len(node.args) == 2 and not node.kwargs:
        return _place_arithmetic(graph, groups, node)
    else:
        return False
    return True


def _place_arithmetic(graph: GraphModule, groups: _Groups, node: Node) -> bool:
    constants = [value for value in node.all_input_nodes if _constant_of(graph, value) is not None]
    values = [value for value in node.all_input_nodes if value not in constants]
    if any(shape(value) != shape(node) for value in values):
        return False
    if len(constants) == 1 and len(values) == 1:
        groups.constants[node] = constants[0]
    elif constants or node.target == aten.mul.Tensor:
        return False
    if node.target == aten.add.Tensor:
        for value in values:
            groups.join(value, node)
    return True


def _constant_of(graph: GraphModule, node: Node) -> Tensor | None:
    """Return the (1 or classes, C, 1, ...) numbers behind a node that gives one number a channel."""
    source = node.args[0] if node.target == aten.index_select.default else node
    value = constant(graph, source)
    if value is None or value.dim() < 2 or value.shape[2:].numel() != 1:
        return None
    return value if source is not node or len(value) == 1 else None


def _scales(graph: GraphModule, contract: Contract, groups: _Groups) -> dict[Node, Tensor]:
    """Return the factor of each channel of each node that is not fixed."""
    ranges: dict[Node, Tensor] = {}

    class Watch(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            if n in groups.parent and n not in groups.fixed:
                per_channel = value.abs().transpose(0, 1).flatten(1).amax(dim=1)
                widest = per_channel.view(-1, groups.repeats[n]).amax(dim=1)
                name = groups.name(n)
                ranges[name] = torch.maximum(ranges[name], widest) if name in ranges else widest
            return value

    with torch.no_grad():
        Watch(graph).run(*example(contract, SAMPLES, SEED))
    scales = {}
    for node in groups.parent:
        if node not in groups.fixed:
            widest = ranges[groups.name(node)].double()
            widest = widest.clamp(min=float(widest.max()) / LARGEST).clamp(min=1e-30)
            factor = widest.log().mean().exp() / widest
            scales[node] = factor.repeat_interleave(groups.repeats[node])
    return scales


def _rescale_layer(graph: GraphModule, node: Node, scales: dict[Node, Tensor]) -> list[Change]:
    made, read = scales.get(node), scales.get(node.args[0])  # pyright: ignore[reportArgumentType]
    if made is None and read is None:
        return []
    weight_node, bias_node = argument(node, 1, "weight"), argument(node, 2, "bias")
    weight, bias = constant(graph, weight_node), constant(graph, bias_node)
    assert weight is not None
    scaled = weight.double()
    if read is not None:
        scaled = scaled / read.view(1, -1, *(1 for _ in weight.shape[2:]))
    if made is not None:
        scaled = scaled * made.view(-1, *(1 for _ in weight.shape[1:]))
    name = layer_of(weight_node)
    with graph.graph.inserting_before(node):
        operands = [add_constant(graph, f"{name}.weight", scaled.to(weight.dtype)), bias_node]
        if bias is not None and made is not None:
            operands[1] = add_constant(graph, f"{name}.bias", (bias.double() * made).to(bias.dtype))
    node.args = (node.args[0], *operands, *node.args[3:])
    if made is None:
        return []
    return [Change("equalize_channels", name, f"factors {float(made.min()):.3g} to {float(made.max()):.3g}")]


def _rescale_constant(graph: GraphModule, node: Node, operand: Node, scales: dict[Node, Tensor]) -> None:
    source = next(value for value in node.all_input_nodes if value is not operand)
    made, read = scales.get(node), scales.get(source)
    value = _constant_of(graph, operand)
    assert value is not None
    scaled = value.double()
    axes = [1, -1] + [1] * (value.dim() - 2)
    if made is not None:
        scaled = scaled * made.view(axes)
    if read is not None and node.target == aten.mul.Tensor:
        scaled = scaled / read.view(axes)
    kept = operand.args[0] if operand.target == aten.index_select.default else operand
    with graph.graph.inserting_before(node):
        new = add_constant(graph, str(kept.target), scaled.to(value.dtype))  # pyright: ignore
        if operand is not kept:
            new = graph.graph.call_function(aten.index_select.default, (new, *operand.args[1:]))
    node.replace_input_with(operand, new)
