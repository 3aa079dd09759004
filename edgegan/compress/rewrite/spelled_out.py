"""Operators that engines lack, or that hide what they are, written as others that do the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import getitem
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from edgegan.compress.rewrite.nodes import add_constant, argument, aten, evaluate, fixed, replace, shape
from edgegan.compress.rewrite.projected_lstm import plain_lstm


def spell_out(graph: GraphModule) -> bool:
    """Replace such operators; return whether there were any. The graph then has to be traced anew.

    `fold` becomes a sum of shifted blocks, an adaptive maximum (or mean, of free sizes) one over windows, an
    Einsum of one tensor a permutation and a sum, a running product some of two each, an InstanceNorm of
    tracked statistics a BatchNorm, a projected LSTM a plain one. What linear algebra makes of constants, as
    an inverse, becomes a constant.
    """
    found = _fold_algebra(graph)
    found += [WAYS[node.target](graph, node) for node in list(graph.graph.nodes) if node.target in WAYS]
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return any(found)


def _fold_algebra(graph: GraphModule) -> list[bool]:
    found = []
    constants = fixed(graph)
    for node in [node for node in graph.graph.nodes if node in constants]:
        source = node.all_input_nodes[0] if node.target == getitem else node
        if _is_algebra(source.target) and isinstance(node.meta.get("val"), Tensor):
            with graph.graph.inserting_before(node):
                replace(node, add_constant(graph, "spelled.weight", evaluate(graph, node, {})))
            found.append(True)
    return found


def _is_algebra(target: Any) -> bool:
    """Whether it is linear algebra that ONNX has not."""
    name = target._schema.name.partition("::")[2].lstrip("_") if isinstance(target, OpOverload) else ""
    return name.startswith(("linalg_", "inverse", "cholesky", "matrix_exp")) and not name.endswith("norm")


def _fold(graph: GraphModule, node: Node) -> bool:
    columns, sizes, *settings = list[Any](node.args)
    name = f"spelled_{node.name}"
    setattr(graph, name, _Fold(*settings))
    with graph.graph.inserting_before(node):
        replace(node, graph.graph.call_module(name, (columns, *sizes)))
    return True


class _Fold(torch.nn.Module):
    """`torch.nn.functional.fold`: ONNX's Col2Im is unknown to TensorRT."""

    def __init__(self, kernel: list[int], dilation: list[int], padding: list[int], stride: list[int]) -> None:
        super().__init__()
        self.axes = list(zip(kernel, dilation, padding, stride, strict=True))

    def forward(self, columns: Tensor, height: int, width: int) -> Tensor:
        x = columns if columns.ndim == 3 else columns[None]
        (rows, *_), (across, *_) = self.axes
        down, along = (_places(size, *axis) for size, axis in zip((height, width), self.axes))
        x = x.reshape(x.shape[0], -1, rows, across, down, along).permute(0, 1, 3, 5, 2, 4)
        x = _overlapped(x, height, *self.axes[0]).permute(0, 1, 4, 2, 3)
        x = _overlapped(x, width, *self.axes[1])
        return x if columns.ndim == 3 else x[0]


def _places(size: int, kernel: int, dilation: int, padding: int, stride: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _overlapped(x: Tensor, size: int, kernel: int, dilation: int, padding: int, stride: int) -> Tensor:
    """Add what lies over each other of (..., kernel, places), a stride apart; give (..., size).

    A kernel is cut into blocks as long as the stride. Blocks of one place in it make a line without overlaps;
    the lines, each a block further on, are added.
    """
    reach = (kernel - 1) * dilation + 1
    if dilation > 1:
        x = F.pad(x.unsqueeze(-2), (0, 0, 0, dilation - 1)).flatten(-3, -2)[..., :reach, :]
    blocks = -(-(reach + stride - 1) // stride)
    x = F.pad(x, (0, 0, 0, blocks * stride - reach)).unflatten(-2, (blocks, stride))
    line = torch.stack([F.pad(x[..., block, :, :], (block, blocks - 1 - block)) for block in range(blocks)])
    return line.sum(0).transpose(-1, -2).flatten(-2)[..., padding : padding + size]


def _adaptive_max(graph: GraphModule, node: Node) -> bool:
    sizes: Any = node.args[1]
    readers = list(node.users)
    if any(reader.target != getitem or reader.args[1] != 0 for reader in readers):
        return False
    with graph.graph.inserting_before(node):
        largest = _windowed(graph, node, sizes, Tensor.amax)
    for reader in readers:
        replace(reader, largest)
    return True


def _adaptive_mean(graph: GraphModule, node: Node) -> bool:
    """Of free sizes; torch.onnx writes the windows of those that it traced."""
    x, sizes = list[Any](node.args)
    if -1 not in shape(x)[-len(sizes) :] or not all(isinstance(size, int) for size in sizes):
        return False
    with graph.graph.inserting_before(node):
        mean = _windowed(graph, node, sizes, Tensor.mean)
    replace(node, mean)
    return True


def _windowed(graph: GraphModule, node: Node, sizes: Sequence[int], reduce: Callable[..., Tensor]) -> Node:
    name = f"spelled_{node.name}"
    setattr(graph, name, _Windows(sizes, reduce))
    return graph.graph.call_module(name, (node.args[0],))


class _Windows(torch.nn.Module):
    """The maximum or mean of so many windows along each of the last axes: ONNX has none that fits them."""

    def __init__(self, sizes: Sequence[int], reduce: Callable[..., Tensor]) -> None:
        super().__init__()
        self.sizes, self.reduce = tuple(sizes), reduce

    def forward(self, x: Tensor) -> Tensor:
        axes = len(self.sizes)
        if all(isinstance(size, int) and size == 1 for size in self.sizes):
            return self.reduce(x, tuple(range(-axes, 0)), keepdim=True)
        lengths = x.shape[-axes:]
        known = self.reduce is Tensor.amax and all(isinstance(length, int) for length in lengths)
        if known and all(length % size == 0 for length, size in zip(lengths, self.sizes)):
            pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
            return pool(x, [int(length // size) for length, size in zip(lengths, self.sizes)])
        for axis, length, size in zip(range(-axes, 0), lengths, self.sizes):
            ends = [((place + 1) * length + size - 1) // size for place in range(size)]
            windows = [(place * length // size, end) for place, end in enumerate(ends)]
            parts = [
                self.reduce(x.narrow(axis, low, high - low), axis, keepdim=True) for low, high in windows
            ]
            x = torch.cat(parts, axis)
        return x


def _einsum(graph: GraphModule, node: Node) -> bool:
    equation, operands = list[Any](node.args[:2])
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    if len(operands) > 1 or not arrow or not given.isalpha() or len(set(given)) < len(given):
        return False
    summed = [axis for axis, letter in enumerate(given) if letter not in wanted]
    left = [letter for letter in given if letter in wanted]
    with graph.graph.inserting_before(node):
        x = operands[0]
        if summed:
            x = graph.graph.call_function(aten.sum.dim_IntList, (x, summed))
        order = [left.index(letter) for letter in wanted]
        replace(node, graph.graph.call_function(aten.permute.default, (x, order)))
    return True


def _instance_norm(graph: GraphModule, node: Node) -> bool:
    if argument(node, 5, "use_input_stats"):
        return False
    tensors, momentum, eps = node.args[:5], argument(node, 6, "momentum"), argument(node, 7, "eps")
    with graph.graph.inserting_before(node):
        norm = graph.graph.call_function(aten.batch_norm.default, (*tensors, False, momentum, eps, False))
    replace(node, norm)
    return True


def _running_product(graph: GraphModule, node: Node) -> bool:
    x, dim = list[Any](node.args[:2])
    if shape(x)[dim] < 1 or argument(node, 2, "dtype") is not None:
        return False
    name = f"spelled_{node.name}"
    setattr(graph, name, _RunningProduct(dim))
    with graph.graph.inserting_before(node):
        replace(node, graph.graph.call_module(name, (x,)))
    return True


class _RunningProduct(torch.nn.Module):
    """`torch.cumprod`, which ONNX has not: each value times what is 1, 2, 4 and more places before it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        size, step = x.shape[self.dim], 1
        while step < size:
            ones = torch.ones_like(x.narrow(self.dim, 0, step))
            x = x * torch.cat([ones, x.narrow(self.dim, 0, size - step)], self.dim)
            step *= 2
        return x


WAYS = {
    aten.adaptive_avg_pool1d.default: _adaptive_mean,
    aten.adaptive_avg_pool2d.default: _adaptive_mean,
    aten.adaptive_avg_pool3d.default: _adaptive_mean,
    aten.adaptive_max_pool1d.default: _adaptive_max,
    aten.adaptive_max_pool2d.default: _adaptive_max,
    aten.adaptive_max_pool3d.default: _adaptive_max,
    aten.col2im.default: _fold,
    aten.cumprod.default: _running_product,
    aten.einsum.default: _einsum,
    aten.instance_norm.default: _instance_norm,
    aten.lstm.input: plain_lstm,
}
"""Each says whether it replaced the node."""
