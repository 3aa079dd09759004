"""Modulated convolutions in their static form: channels scaled, a plain convolution, and scaled again.

A weight of its own for each sample, W[o, i] * s[n, i] * d[n, o], is one weight for all with the input's
channels times s and the output's times d (MobileStyleGAN, Belousov 2021, arXiv:2104.04767). So it is
quantized as any other convolution, and the whole batch shares it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.operators import RESHAPES
from edgegan.compress.rewrite.nodes import add_constant, argument, aten, depends_on, evaluate, shape

POWERS = (aten.square.default, aten.pow.Tensor_Scalar)
SUMS = (aten.sum.dim_IntList,)


@dataclass(frozen=True)
class _Factors:
    """A product of (1, first, second, *kernel), and what has an axis of samples and one of channels.

    `first` and `second` are nodes (N, channels), whose product scales the first and the second channel axis.
    """

    weight: Tensor
    first: tuple[Node, ...] = ()
    second: tuple[Node, ...] = ()

    def swapped(self) -> _Factors:
        return _Factors(self.weight.transpose(1, 2), self.second, self.first)


class StaticForm:
    """Brings the modulated convolutions of a graph into their static form."""

    def __init__(self, graph: GraphModule) -> None:
        self.graph = graph
        self.inputs: dict[Node, frozenset[Node]] = {}
        for node in graph.graph.nodes:
            self.inputs[node] = depends_on(node, self.inputs)

    def write(self, conv: Node, groups: Node) -> Node | None:
        """Return what gives (1, N * outputs, ...) as `conv`, whose groups are samples; None elsewhere."""
        transposed = conv.target == aten.conv_transpose2d.input
        weight_node, bias = conv.args[1], argument(conv, 2, "bias")
        if not isinstance(weight_node, Node) or weight_node.target not in RESHAPES.torch or bias is not None:
            return None
        if shape(weight_node)[1:] != shape(weight_node.args[0])[2:]:
            return None
        with self.graph.graph.inserting_before(conv):
            found = self._factors(weight_node.args[0])
            if found is None:
                return None
            # Of a convolution, first and second are outputs and inputs; of a transposed one, the other way.
            into, out = (found.first, found.second) if transposed else (found.second, found.first)
            inputs, outputs = found.weight.shape[1:3] if transposed else found.weight.shape[2:0:-1]
            return self._write(conv, groups, found.weight[0], (into, out), (inputs, outputs))

    def _write(
        self, conv: Node, groups: Node, weight: Tensor, scales: tuple[Any, Any], channels: tuple[int, int]
    ) -> Node:
        call, spatial = self.graph.graph.call_function, [1] * (weight.dim() - 2)
        constant = add_constant(self.graph, f"static_{conv.name}.weight", weight)
        x = call(
            aten.reshape.default,
            (conv.args[0], [groups, channels[0], *self._spatial(conv.args[0], conv.args[0])]),
        )
        for scale in scales[0]:
            column = call(aten.reshape.default, (scale, [groups, channels[0], *spatial]))
            x = call(aten.mul.Tensor, (x, column))
        settings = list(conv.args[3:])
        settings[3] = 1
        x = call(conv.target, (x, constant, None, *settings))  # pyright: ignore[reportArgumentType]
        for scale in scales[1]:
            column = call(aten.reshape.default, (scale, [groups, channels[1], *spatial]))
            x = call(aten.mul.Tensor, (x, column))
        return call(aten.reshape.default, (x, [1, -1, *self._spatial(x, conv)]))

    def _spatial(self, node: Any, like: Any) -> list[int | Node]:
        """Return the sizes of `like` behind batch and channels; where they are free, `node` tells them."""
        read = self.graph.graph.call_function
        return [
            read(aten.sym_size.int, (node, axis)) if size == -1 else size
            for axis, size in enumerate(shape(like)[2:], 2)
        ]

    def _factors(self, node: Any) -> _Factors | None:
        """Take a weight of each sample's own (N, first, second, *kernel) apart."""
        if isinstance(node, (int, float)):
            return _Factors(torch.tensor(float(node)))
        if not isinstance(node, Node):
            return None
        if not self.inputs[node]:
            value = evaluate(self.graph, node, {})
            return _Factors(value if value.dim() != 4 else value[None]) if isinstance(value, Tensor) else None
        if node.target == aten.mul.Tensor:
            return self._product(node)
        if node.target == aten.transpose.int and set(node.args[1:]) == {1, 2}:
            found = self._factors(node.args[0])
            return None if found is None else found.swapped()
        if node.target == aten.flip.default and min(node.args[1]) >= 3:  # pyright: ignore
            found = self._factors(node.args[0])
            return None if found is None else replace(found, weight=found.weight.flip(node.args[1]))  # pyright: ignore
        size = shape(node)
        if len(size) < 4 or size[0] != -1 or set(size[3:]) != {1} or min(size[1:3]) != 1:
            return None
        rows = self.graph.graph.call_function(
            aten.reshape.default, (self._through_norm(node), [-1, max(size[1:3])])
        )
        one = torch.ones([1] * len(size))
        return _Factors(one, first=(rows,)) if size[2] == 1 else _Factors(one, second=(rows,))

    def _product(self, node: Node) -> _Factors | None:
        one, other = (self._factors(value) for value in node.args)
        if one is None or other is None:
            return None
        return _Factors(one.weight * other.weight, one.first + other.first, one.second + other.second)

    def _through_norm(self, node: Node) -> Node:
        """Return `node`, and write a sum of squared weights that it rests on as a product of matrices.

        sum_ik (W[o, i, k] s[n, i])^2 is s^2 times sum_k W^2: no weight of each sample's own is left.
        """
        for source in _chain(node):
            if source.target not in SUMS or not isinstance(source.args[0], Node):
                continue
            squared = source.args[0]
            base = (
                squared.args[0]
                if squared.target in POWERS and argument(squared, 1, "exponent", 2) == 2
                else None
            )
            if squared.target == aten.mul.Tensor and squared.args[0] is squared.args[1]:
                base = squared.args[0]
            with self.graph.graph.inserting_before(source):
                found = self._factors(base) if isinstance(base, Node) and len(shape(base)) >= 4 else None
            axes = {axis % len(shape(squared)) for axis in source.args[1]}  # pyright: ignore
            if found is None or found.first or not found.second or axes != set(range(2, len(shape(squared)))):
                continue
            power = found.weight.square().sum(list(range(3, found.weight.dim())))[0]
            with self.graph.graph.inserting_before(source):
                call = self.graph.graph.call_function
                matrix = add_constant(self.graph, f"static_{source.name}.power", power.t())
                total: Node | None = None
                for scale in found.second:
                    total = scale if total is None else call(aten.mul.Tensor, (total, scale))
                product = call(aten.matmul.default, (call(aten.mul.Tensor, (total, total)), matrix))
                if len(shape(source)) > 2:
                    ones = [1] * (len(shape(source)) - 2)
                    product = call(aten.reshape.default, (product, [-1, power.shape[0], *ones]))
            product.meta.update(source.meta)
            source.replace_all_uses_with(product)
            self.inputs[product] = self.inputs[source]
        return node


def _chain(node: Node) -> list[Node]:
    """Return `node` and what it is computed from, as long as that is one tensor alone."""
    found = [node]
    while len(sources := [one for one in found[-1].all_input_nodes if shape(one)]) == 1:
        found.append(sources[0])
    return found
