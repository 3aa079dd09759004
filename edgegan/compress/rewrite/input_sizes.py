"""Sizes that a graph reads off its inner tensors, told by its inputs: whoever reads a size is a reader."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgegan.compress.operators import UPSAMPLES
from edgegan.compress.rewrite.nodes import aten, factors, shape

RESIZES = (
    *UPSAMPLES,
    aten.upsample_linear1d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_bicubic2d.vec,
    aten.upsample_trilinear3d.vec,
)
"""Their second argument is the size of the output, and their last one its factors to the input's."""


def tell_sizes_by_inputs(graph: GraphModule) -> None:
    """Compute each free size from the inputs' axes, and write resizing by whole numbers as such.

    A network that resizes to `2 * x.shape[2]` reads x; no norm before x could be folded, and no up-sampling
    recognized. Its outputs stay the same.
    """
    for node in list(graph.graph.nodes):
        if node.target not in RESIZES or not any(isinstance(size, Node) for size in node.args[1] or ()):
            continue
        if (by := factors(node)) is not None:
            node.args = (node.args[0], None, *node.args[2:-1], [float(factor) for factor in by])
    graph.graph.eliminate_dead_code()
    for node in list(graph.graph.nodes):
        if node.target == aten.sym_size.int and node.args[0].op != "placeholder":
            _tell(graph, node)


def _tell(graph: GraphModule, node: Node) -> None:
    """Let the size that `node` reads be computed from an input's axis; leave it where it is no linear one."""
    expression = _expression(node.meta["val"])
    for port, axis, of_input in _free_axes(graph):
        (symbol,) = of_input.free_symbols
        slope, start = of_input.coeff(symbol), of_input.subs(symbol, 0)
        times, plus = expression.coeff(symbol), expression.subs(symbol, 0)
        if expression != times * symbol + plus or not times or not all(_whole(slope, start, times, plus)):
            continue
        steps: list[tuple[Callable[[Any, Any], Any], int, int]] = [
            (operator.sub, int(start), 0),
            (operator.floordiv, int(slope), 1),
            (operator.mul, int(times), 1),
            (operator.add, int(plus), 0),
        ]
        with graph.graph.inserting_before(node):
            told = graph.graph.call_function(aten.sym_size.int, (port, axis))
            for operation, number, idle in steps:
                if number != idle:
                    told = graph.graph.call_function(operation, (told, number))
        told.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(told)
        graph.graph.erase_node(node)
        return


def _whole(*numbers: Any) -> Iterator[bool]:
    return (bool(number.is_Integer) for number in numbers)


def _free_axes(graph: GraphModule) -> Iterator[tuple[Node, int, Any]]:
    """Yield the axes of inputs that hang on one symbol alone, and their sizes in it."""
    for port in graph.graph.find_nodes(op="placeholder"):
        for axis, size in enumerate(shape(port)):
            expression = _expression(port.meta["val"].shape[axis]) if size == -1 else None
            if expression is not None and len(expression.free_symbols) == 1:
                yield port, axis, expression


def _expression(size: Any) -> Any:
    return size.node.expr if isinstance(size, torch.SymInt) else size
