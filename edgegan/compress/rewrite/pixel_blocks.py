"""Convolutions with few outputs and many taps, computed for a block of pixels at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.conv_kernels import dilated, per_axis, zero_padding
from edgegan.compress.rewrite.graph import add_constant, argument, aten, constant, layer_of, replace, shape
from edgegan.compress.rewrite.nodes import lengths
from edgegan.runtime.contract import Contract

CONVOLUTIONS = (aten.conv2d.default, aten.conv2d.padding)
POINTWISE = (aten.relu.default, aten.leaky_relu.default, aten.prelu.default, aten.tanh.default)
SIZE = 2
LANES = 16
"""Output channels that a CPU's kernels compute together, whether they are there or not."""
START = 0.5
"""What such a group of channels costs to begin with, in groups."""
GATHER = 35
"""What it costs to gather a pixel of a channel, in taps of such a group, as measured on ONNX Runtime."""
LEAST_GAIN = 1.25
"""So much has to be won where pixels must be gathered first: in INT8 it is less than in float."""


def conv_to_pixel_blocks(graph: GraphModule, contract: Contract) -> list[Change]:
    """Write a 2-d Conv with few outputs as one that gives blocks of b x b pixels, where that is faster.

    Each block's pixels become channels, of the input by a pixel unshuffle and of the output by a shuffle (the
    space-to-depth transform). A CPU's kernels compute 16 output channels for the price of one, and the last
    layer of a generator, to 3 channels with 9x9 taps, leaves most of them idle: as a Conv to 12 channels with
    5x5 taps it takes a third of the steps, although zeros come on top. Gathering the pixels takes time too,
    unless the input comes out of a pixel shuffle by b: that and the unshuffle cancel out.
    """
    changes = []
    for node in list(graph.graph.nodes):
        layer = _layer(graph, node)
        if layer is None:
            continue
        path = _from_shuffle(layer.source)
        block = _blocks(layer, SIZE if path is None else argument(path[0], 1, "upscale_factor"))
        if block is None or not _gains(layer, block, gathered=path is None):
            continue
        with graph.graph.inserting_before(node):
            _write(graph, layer, block, path)
        way = "instead of" if path else "in"
        kernel = "x".join(str(axis.taps) for axis in block.axes)
        detail = f"{kernel} taps {way} a shuffle by {block.size}, blocks of {block.size}x{block.size} pixels"
        changes.append(Change("conv_to_pixel_blocks", layer.name, detail))
    return changes


@dataclass(frozen=True)
class _Layer:
    """A Conv of stride 1 with constant weights, its dilation written out."""

    node: Node
    name: str
    weight: Tensor
    bias: Tensor | None
    padding: list[tuple[int, int]]

    @property
    def source(self) -> Node:
        return self.node.args[0]  # pyright: ignore[reportReturnType]

    def cost(self) -> float:
        return _cost(self.weight.shape[2:].numel(), len(self.weight))


@dataclass(frozen=True)
class _Axis:
    """An axis of a Conv on blocks: the block that its first tap reads, and its taps."""

    first: int
    taps: int


@dataclass(frozen=True)
class _Block:
    size: int
    axes: list[_Axis]

    def cost(self, outputs: int) -> float:
        return _cost(self.axes[0].taps * self.axes[1].taps, outputs * self.size**2)


def _cost(taps: int, outputs: int) -> float:
    """Return the cost for each input channel and pixel; of a block, for all its pixels and their channels."""
    return taps * (ceil(outputs / LANES) + START)


def _layer(graph: GraphModule, node: Node) -> _Layer | None:
    if node.target not in CONVOLUTIONS or len(shape(node)) != 4 or argument(node, 6, "groups", 1) != 1:
        return None
    weight_node, bias_node = argument(node, 1, "weight"), argument(node, 2, "bias")
    weight, bias = constant(graph, weight_node), constant(graph, bias_node)
    if weight is None or (bias is None and bias_node is not None):
        return None
    if per_axis(argument(node, 3, "stride", 1), 2) != (1, 1):
        return None
    wide = dilated(weight, per_axis(argument(node, 5, "dilation", 1), 2))
    padding = zero_padding(argument(node, 4, "padding", 0), wide)
    return _Layer(node, layer_of(weight_node), wide, bias, padding)


def _blocks(layer: _Layer, size: int) -> _Block | None:
    """Return the Conv on blocks of `size`; None where they do not fit its input, output or padding."""
    axes = []
    sizes = zip(lengths(layer.source), lengths(layer.node), layer.weight.shape[2:], layer.padding)
    for before, after, taps, (low, _) in sizes:
        if before % size or after % size:
            return None
        first, last = -low // size, (size - 1 + taps - 1 - low) // size
        if (after - before) // size + last != -first:
            return None
        axes.append(_Axis(first, last - first + 1))
    return _Block(size, axes)


def _gains(layer: _Layer, block: _Block, *, gathered: bool) -> bool:
    """Whether the Conv on blocks is faster; where a pixel shuffle cancels out, none are gathered."""
    cost = block.cost(len(layer.weight))
    return layer.cost() >= (LEAST_GAIN * (cost + GATHER) if gathered else cost)


def _from_shuffle(node: Node) -> tuple[Node, ...] | None:
    """Return the pixel shuffle behind `node`, and the element-wise operators between; None where none is."""
    path = [node]
    while len(path[-1].users) == 1 and path[-1].target in POINTWISE:
        path.append(path[-1].args[0])  # pyright: ignore[reportArgumentType]
    found = path[-1].target == aten.pixel_shuffle.default and len(path[-1].users) == 1
    return tuple(reversed(path)) if found else None


def _write(graph: GraphModule, layer: _Layer, block: _Block, path: tuple[Node, ...] | None) -> None:
    call, size = graph.graph.call_function, block.size
    if path is None:
        source = call(aten.pixel_unshuffle.default, (layer.source, size))
    else:
        source = path[0].args[0]
        for node in path[1:]:
            others = list(node.args[1:])
            slope = constant(graph, others[0]) if node.target == aten.prelu.default else None
            if slope is not None and slope.numel() > 1:
                repeated = slope.repeat_interleave(size**2)
                others[0] = add_constant(graph, f"{layer_of(others[0])}.weight", repeated)
            source = call(node.target, (source, *others))  # pyright: ignore[reportArgumentType]
    weight = add_constant(graph, f"{layer.name}.weight", _weight(layer, block))
    bias = None
    if layer.bias is not None:
        bias = add_constant(graph, f"{layer.name}.bias", layer.bias.repeat_interleave(size**2))
    padding = [-axis.first for axis in block.axes]
    conv = call(aten.conv2d.default, (source, weight, bias, [1, 1], padding))
    shuffled = call(aten.pixel_shuffle.default, (conv, size))
    shuffled.meta["val"] = layer.node.meta["val"]
    replace(layer.node, shuffled)


def _weight(layer: _Layer, block: _Block) -> Tensor:
    """Return the weight of the Conv on blocks: (outputs * pixels, inputs * pixels, *taps)."""
    size, (rows, columns) = block.size, block.axes
    outputs, inputs, height, width = layer.weight.shape
    wide = layer.weight.new_zeros(outputs, size, size, inputs, size, size, rows.taps, columns.taps)
    top, left = (low for low, _ in layer.padding)
    phases = range(size)
    for row, column, y, x in product(phases, phases, range(height), range(width)):
        (down, low), (right, far) = divmod(row + y - top, size), divmod(column + x - left, size)
        wide[:, row, column, :, low, far, down - rows.first, right - columns.first] = layer.weight[:, :, y, x]
    return torch.flatten(wide, 0, 2).flatten(1, 3)
