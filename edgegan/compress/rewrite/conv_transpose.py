"""Transposed convolution as plain convolution, which more engines run in INT8."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.operators import TRANSPOSED
from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.conv_kernels import dilated, padded, per_axis
from edgegan.compress.rewrite.graph import add_constant, argument, aten, constant, layer_of, replace, shape
from edgegan.runtime.contract import Contract

PLAIN = {1: aten.conv1d.default, 2: aten.conv2d.default, 3: aten.conv3d.default}
FREE = -1
"""The length of an axis that is free, as `shape` tells it."""
END = (1 << 63) - 1
VIEWS = (
    aten.unsqueeze.default,
    aten.view.default,
    aten.reshape.default,
    aten.squeeze.dim,
    aten.squeeze.default,
    aten.slice.Tensor,
)


@dataclass(frozen=True)
class _Layer:
    """A transposed convolution with constant weights, its dilation written out.

    weight is (inputs, outputs / groups, *kernel).
    """

    node: Node
    name: str
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int
    size: tuple[int, ...]

    @property
    def source(self) -> Node:
        return self.node.args[0]  # pyright: ignore[reportReturnType]

    @property
    def outputs(self) -> int:
        return self.weight.shape[1] * self.groups

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[2:])


def conv_transpose_to_linear(graph: GraphModule, contract: Contract) -> list[Change]:
    """Write each ConvTranspose of a 1x1 input as a Linear (with groups, a 1x1 Conv) and a reshape."""
    changes = []
    for layer in _layers(graph):
        if any(size != 1 for size in layer.size):
            continue
        weight, lengths = layer.weight, []
        for axis, (kernel, padding, extra) in enumerate(
            zip(layer.kernel, layer.padding, layer.output_padding)
        ):
            length = kernel - 2 * padding + extra
            weight = padded(weight, axis, 0, extra).narrow(2 + axis, padding, length)
            lengths.append(length)
        with graph.graph.inserting_before(layer.node):
            product = _positions_as_channels(graph, layer, weight)
            result = graph.graph.call_function(aten.reshape.default, (product, [-1, layer.outputs, *lengths]))
        replace(layer.node, result)
        kind = "Linear" if layer.groups == 1 else f"Conv in {layer.groups} groups,"
        detail = f"{kind} {len(weight)} to {layer.outputs}x{'x'.join(map(str, lengths))}"
        changes.append(Change("conv_transpose_to_linear", layer.name, detail))
    return changes


def _positions_as_channels(graph: GraphModule, layer: _Layer, weight: Tensor) -> Node:
    """Compute (N, outputs * positions) from one position, where `weight` has a tap for each position."""
    call, inputs, positions = graph.graph.call_function, len(weight), weight[0, 0].numel()
    bias = None
    if layer.bias is not None:
        bias = add_constant(graph, f"{layer.name}.bias", layer.bias.repeat_interleave(positions))
    if layer.groups == 1:
        matrix = add_constant(graph, f"{layer.name}.weight", weight.reshape(inputs, -1).t())
        source = _flat_source(layer.source, inputs)
        if source is None:
            source = call(aten.reshape.default, (layer.source, [-1, inputs]))
        return call(aten.linear.default, (source, matrix, bias))
    axes = len(layer.stride)
    rows = weight.reshape(layer.groups, inputs // layer.groups, -1).transpose(1, 2)
    rows = rows.reshape(-1, inputs // layer.groups, *[1] * axes)
    kernel = add_constant(graph, f"{layer.name}.weight", rows)
    numbers = ([1] * axes, [0] * axes, [1] * axes, layer.groups)
    return call(PLAIN[axes], (layer.source, kernel, bias, *numbers))


def conv_transpose_to_shuffle(graph: GraphModule, contract: Contract) -> list[Change]:
    """Write each ConvTranspose as a Conv of stride 1, a pixel shuffle and a crop.

    For kernel k and stride s, phase j of the outputs is a convolution with every s-th weight from j on.
    The phases become channels, ordered (out, phase), so that the Conv has ceil(k/s) taps and s times the
    channels per axis (Shi et al. 2016, arXiv:1609.07009).
    """
    changes = []
    for layer in _layers(graph):
        plans = [
            plan_axis(*numbers)
            for numbers in zip(layer.kernel, layer.stride, layer.padding, layer.output_padding, layer.size)
        ]
        with graph.graph.inserting_before(layer.node):
            result = _shuffled(graph, layer, plans)
            for axis, plan in enumerate(plans):
                if plan.crop or plan.length != plan.shuffled:
                    result = graph.graph.call_function(
                        aten.slice.Tensor, (result, 2 + axis, plan.crop, plan.end(layer.size[axis]))
                    )
        for reader in layer.node.users:
            if reader.target == aten.view.default:
                reader.target = aten.reshape.default  # what is cut out of a larger tensor has no view
        replace(layer.node, result)
        taps = "x".join(str(ceil(k / s)) for k, s in zip(layer.kernel, layer.stride))
        detail = f"Conv {taps}, shuffle by {'x'.join(map(str, layer.stride))}"
        changes.append(Change("conv_transpose_to_shuffle", layer.name, detail))
    return changes


@dataclass(frozen=True)
class AxisPlan:
    """One spatial axis of a transposed convolution written as a Conv, a shuffle and a crop."""

    padding: int
    """The padding of the Conv."""
    shuffled: int
    """The length after the shuffle."""
    crop: int
    """How much of it to cut off at the start."""
    length: int
    """The length to keep."""

    def end(self, size: int) -> int:
        """Return where to cut off the rest, counted from the end where `size` is free."""
        over = self.shuffled - self.crop - self.length
        if size != FREE:
            return self.crop + self.length
        return -over if over else END


def plan_axis(kernel: int, stride: int, padding: int, extra: int, size: int) -> AxisPlan:
    """Plan an axis of `size` positions; `extra` is the output padding. All sizes are cut alike."""
    size = kernel + padding if size == FREE else size
    taps = ceil(kernel / stride)
    before = taps - 1 - padding // stride
    after = ceil((kernel + extra - padding) / stride) - 1
    widest = max(before, after, 0)
    return AxisPlan(
        padding=widest,
        shuffled=(size + 2 * widest - taps + 1) * stride,
        crop=padding - (taps - 1 - widest) * stride,
        length=(size - 1) * stride - 2 * padding + kernel + extra,
    )


def _shuffled(graph: GraphModule, layer: _Layer, plans: list[AxisPlan]) -> Node:
    axes = len(plans)
    call = graph.graph.call_function
    weight = add_constant(graph, f"{layer.name}.weight", _phases(layer))
    phases = int(torch.tensor(layer.stride).prod())
    bias = None
    if layer.bias is not None:
        bias = add_constant(graph, f"{layer.name}.bias", layer.bias.repeat_interleave(phases))
    padding = [plan.padding for plan in plans]
    result = call(PLAIN[axes], (layer.source, weight, bias, [1] * axes, padding, [1] * axes, layer.groups))
    if phases == 1:
        return result
    if axes == 2 and layer.stride[0] == layer.stride[1]:
        return call(aten.pixel_shuffle.default, (result, layer.stride[0]))
    if FREE in layer.size:
        split = call(aten.unflatten.int, (result, 1, [layer.outputs, *layer.stride]))
    else:
        coarse = [plan.shuffled // stride for plan, stride in zip(plans, layer.stride)]
        split = call(aten.reshape.default, (result, [-1, layer.outputs, *layer.stride, *coarse]))
    order = [0, 1] + [2 + axis + offset for axis in range(axes) for offset in (axes, 0)]
    moved = call(aten.permute.default, (split, order))
    if FREE in layer.size:
        for axis in reversed(range(axes)):
            moved = call(aten.flatten.using_ints, (moved, 2 + 2 * axis, 3 + 2 * axis))
        return moved
    return call(aten.reshape.default, (moved, [-1, layer.outputs, *(plan.shuffled for plan in plans)]))


def _phases(layer: _Layer) -> Tensor:
    """Return the weight of the Conv: (outputs * phases, inputs / groups, *taps)."""
    weight, axes = layer.weight, len(layer.stride)
    shape = []
    for axis, stride in enumerate(layer.stride):
        weight = padded(weight, axis, 0, -weight.shape[2 + axis] % stride)
        shape += [weight.shape[2 + axis] // stride, stride]
    inputs, outputs = weight.shape[0] // layer.groups, weight.shape[1]
    weight = weight.reshape(layer.groups, inputs, outputs, *shape)
    taps = [3 + 2 * axis for axis in range(axes)]
    weight = weight.flip(taps).permute(0, 2, *(axis + 1 for axis in taps), 1, *taps)
    return weight.reshape(-1, inputs, *shape[::2])


def _layers(graph: GraphModule) -> list[_Layer]:
    found = []
    for node in graph.graph.nodes:
        axes = TRANSPOSED.get(node.target)
        if axes is None:
            continue
        weight_node, bias_node = argument(node, 1, "weight"), argument(node, 2, "bias")
        weight, bias = constant(graph, weight_node), constant(graph, bias_node)
        size = shape(node.args[0])[2:]
        if weight is None or (bias is None and bias_node is not None) or len(size) != axes:
            continue
        numbers = {
            name: per_axis(argument(node, position, name, default), axes)
            for position, name, default in (
                (3, "stride", 1),
                (4, "padding", 0),
                (5, "output_padding", 0),
                (7, "dilation", 1),
            )
        }
        weight = dilated(weight, numbers.pop("dilation"))
        groups = argument(node, 6, "groups", 1)
        found.append(_Layer(node, layer_of(weight_node), weight, bias, groups=groups, size=size, **numbers))
    return found


def _flat_source(node: Node, features: int) -> Node | None:
    """Return the (N, features) tensor that `node` is but a view of."""
    while isinstance(node, Node):
        if len(shape(node)) == 2 and shape(node)[1] == features:
            return node
        if node.target not in VIEWS:
            return None
        if shape(node.args[0])[:1] != shape(node)[:1]:
            return None
        node = node.args[0]  # pyright: ignore[reportAssignmentType]
    return None
