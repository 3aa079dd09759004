"""Norms, and other affine functions of a channel, absorbed into the layers that read them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from edgegan.compress.operators import LAYERS, RESHAPES, TRANSPOSED, UPSAMPLES
from edgegan.compress.rewrite.affine import Affine, affines
from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.graph import add_constant, argument, aten, constant, layer_of, shape
from edgegan.compress.rewrite.nodes import traced
from edgegan.runtime.contract import Contract

SPATIAL = (*UPSAMPLES, aten.pad.default, aten.slice.Tensor)
"""Operators that treat each channel alike, and linearly."""
ROUNDING = 1e-9


def fold_norm_forward(graph: GraphModule, contract: Contract) -> list[Change]:
    """Fold each BatchNorm, or multiply and add of constants, into the layers that alone read it.

    Done where the shift comes to one number for each output channel: before a Linear, and before a Conv whose
    padding, if any, repeats the border or mirrors it. Up-sampling, padding and flattening may lie between.
    """
    return _fold_all(graph, "fold_norm_forward", borders=False)


def fold_norm_after_activation(graph: GraphModule, contract: Contract) -> list[Change]:
    """Fold forward as `fold_norm_forward` does, also before a Conv that pads with zeros, and a ConvTranspose.

    Where the shift does not reach all outputs alike, since it is not added to the zeros of the padding, what
    differs from the middle is added to the output: a constant of (1, channels, height, width). There is none
    where sizes are free.
    """
    return _fold_all(graph, "fold_norm_after_activation", borders=True)


@dataclass(frozen=True)
class _Reader:
    """A layer that reads an affine function, perhaps through operators that only move values about."""

    layer: Node
    weight: Tensor
    scale: Tensor
    """(1, inputs of the layer)."""
    middle: Tensor
    """What the shift adds to the middle of the outputs: (outputs,)."""
    border: Tensor
    """What it adds elsewhere beyond that: (1, outputs, *spatial)."""


def _fold_all(graph: GraphModule, name: str, *, borders: bool) -> list[Change]:
    changes = []
    for affine in reversed(affines(graph)):
        readers = _readers(graph, affine)
        uneven = [reader for reader in readers if reader.border.any()]
        sized = all(-1 not in shape(reader.layer)[1:] for reader in uneven)
        if not readers or (uneven and not (borders and sized)):
            continue
        for reader in readers:
            _fold_into(graph, reader)
        affine.remove()
        detail = f"into {', '.join(layer_of(argument(reader.layer, 1, 'weight')) for reader in readers)}"
        changes.append(Change(name, affine.name, f"{detail}, with a border" if uneven else detail))
    return changes


def _readers(graph: GraphModule, affine: Affine) -> list[_Reader]:
    """Return the layers that read `affine`; none where anything else reads it too."""
    size = traced(affine.node)
    axes = [1, -1] + [1] * (len(size) - 2)
    scale, shift = affine.scale.view(axes), affine.shift.view(axes).expand(1, *size[1:])
    found: list[_Reader] = []
    todo = [(affine.node, scale, shift)]
    while todo:
        node, scale, shift = todo.pop()
        for user in node.users:
            if user.target in LAYERS.torch and (reader := _reader(graph, user, node, scale, shift)):
                found.append(reader)
            elif user.target in SPATIAL and _is_linear(user):
                todo.append((user, scale, _run(user, node, shift)))
            elif user.target in RESHAPES.torch and -1 not in shape(node)[1:]:
                if shape(user) != (-1, prod(shape(node)[1:])):
                    return []
                flat = scale.expand(1, *shape(node)[1:]).flatten(1)
                todo.append((user, flat, shift.flatten(1)))
            else:
                return []
    return found


def _reader(graph: GraphModule, layer: Node, source: Node, scale: Tensor, shift: Tensor) -> _Reader | None:
    weight, bias_node = constant(graph, argument(layer, 1, "weight")), argument(layer, 2, "bias")
    if weight is None or layer.args[0] is not source or layer.kwargs:
        return None
    if bias_node is not None and constant(graph, bias_node) is None:
        return None
    if layer.target == aten.linear.default and shift.dim() != 2:
        return None
    response = layer.target(shift, weight.double(), None, *layer.args[3:])  # pyright: ignore
    middle = response[(..., *(size // 2 for size in response.shape[2:]))]
    border = response - middle.view(1, -1, *(1 for _ in response.shape[2:]))
    border[border.abs() <= ROUNDING * response.abs().max()] = 0
    return _Reader(layer, weight, scale.flatten(), middle.flatten(), border)


def _is_linear(node: Node) -> bool:
    """Whether an operator treats each channel alike and linearly, by numbers that the graph holds."""
    if len(node.all_input_nodes) > 1:
        return False
    if node.target == aten.slice.Tensor:
        return argument(node, 1, "dim", 0) >= 2
    if node.target == aten.pad.default:
        within = len(argument(node, 1, "pad")) <= 2 * (len(shape(node)) - 2)
        return within and not argument(node, 3, "value", None)
    return True


def _run(node: Node, source: Node, value: Tensor) -> Tensor:
    args, kwargs = map_arg((node.args, node.kwargs), lambda other: value if other is source else other)
    return node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]


def _fold_into(graph: GraphModule, reader: _Reader) -> None:
    layer, weight = reader.layer, reader.weight
    weight_node, bias_node = argument(layer, 1, "weight"), argument(layer, 2, "bias")
    bias = constant(graph, bias_node)
    name = layer_of(weight_node)
    shift = reader.middle if bias is None else reader.middle + bias.double()
    scaled = (weight.double() * _factor(reader)).to(weight.dtype)
    with graph.graph.inserting_before(layer):
        new_weight = add_constant(graph, f"{name}.weight", scaled)
        new_bias = add_constant(graph, f"{name}.bias", shift.to(weight.dtype))
    layer.args = (layer.args[0], new_weight, new_bias, *layer.args[3:])
    if reader.border.any():
        with graph.graph.inserting_after(layer):
            total = graph.graph.call_function(aten.add.Tensor)
        layer.replace_all_uses_with(total)
        with graph.graph.inserting_before(total):
            border = add_constant(graph, f"{name}.border", reader.border.to(weight.dtype))
        total.args = (layer, border)


def _factor(reader: _Reader) -> Tensor:
    """Return the scale in the form of the layer's weight."""
    weight, scale = reader.weight, reader.scale
    spatial = [1] * (weight.dim() - 2)
    if reader.layer.target in TRANSPOSED:
        return scale.view(-1, 1, *spatial)
    groups = len(scale) // weight.shape[1]
    return (
        scale.view(groups, -1).repeat_interleave(len(weight) // groups, dim=0).view(len(weight), -1, *spatial)
    )
