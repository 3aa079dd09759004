"""Convolutions whose groups are the samples of a batch, each with its own weights.

So modulated convolutions are often written (Karras et al. 2020, arXiv:1912.04958). ONNX wants a number of
groups that is fixed. Where the weights are constants times factors of a sample, they get their static form;
others become products of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from edgegan.compress.rewrite.modulated import StaticForm
from edgegan.compress.rewrite.nodes import aten, replace

GROUPS = {aten.conv1d.default: 6, aten.conv2d.default: 6, aten.conv_transpose2d.input: 6}
"""The operators that are rewritten, and where they have their groups."""


def without_batched_groups(graph: GraphModule) -> bool:
    """Replace the convolutions whose number of groups is the batch's; return whether there were any.

    The graph then has to be traced anew.
    """
    found, static = False, StaticForm(graph)
    for node in list(graph.graph.nodes):
        place = GROUPS.get(node.target)
        if place is None or len(node.args) <= place or not isinstance(node.args[place], Node):
            continue
        found = True
        if (plain := static.write(node, node.args[place])) is not None:
            replace(node, plain)
            continue
        name = f"batched_{node.name}"
        setattr(graph, name, _Batched(_transposed if "transpose" in str(node.target) else _plain, node))
        with graph.graph.inserting_before(node):
            instead = graph.graph.call_module(name, (node.args[0], node.args[1], node.args[place]))
        instead.meta.update(node.meta)
        bias = node.args[2]
        node.replace_all_uses_with(instead)
        if bias is not None:
            with graph.graph.inserting_after(instead):
                shape = (-1, *(1 for _ in node.meta["val"].shape[2:]))
                column = graph.graph.call_function(aten.reshape.default, (bias, list(shape)))
            with graph.graph.inserting_after(column):
                total = graph.graph.call_function(aten.add.Tensor, (instead, column))
            instead.replace_all_uses_with(total, lambda user, keep=total: user is not keep)
        graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return found


class _Batched(torch.nn.Module):
    def __init__(self, work: Callable[..., Tensor], node: Node) -> None:
        super().__init__()
        given = list(node.args[3:6])
        self.work, self.settings = work, given

    def forward(self, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        return self.work(x, weight, groups, *self.settings)


def _plain(x: Tensor, weight: Tensor, groups: int, stride: Any, padding: Any, dilation: Any) -> Tensor:
    sizes = weight.shape[2:]
    x = x.reshape(groups, weight.shape[1], *x.shape[2:])
    x = F.pad(x, [side for size in reversed(padding) for side in (size, size)])
    return _correlate(x, weight.reshape(groups, -1, weight.shape[1], *sizes), stride, dilation)


def _transposed(
    x: Tensor, weight: Tensor, groups: int, stride: Any, padding: Any, output_padding: Any
) -> Tensor:
    """Spread the pixels, zeros between them, and correlate with the mirrored kernel."""
    rows, columns = x.shape[2:]
    x = x.reshape(groups, -1, rows, 1, columns, 1)
    x = F.pad(x, (0, stride[1] - 1, 0, 0, 0, stride[0] - 1))
    x = x.reshape(groups, -1, rows * stride[0], columns * stride[1])
    sides = []
    for size, step, edge, more in zip(weight.shape[2:], stride, padding, output_padding):
        sides.append((size - 1 - edge, size - 1 - edge + more - (step - 1)))
    x = F.pad(x, [side for pair in reversed(sides) for side in pair])
    mirrored = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2).flip(3, 4)
    return _correlate(x, mirrored, (1, 1), (1, 1))


def _correlate(x: Tensor, weight: Tensor, stride: Any, dilation: Any) -> Tensor:
    """Correlate each sample of x (n, c, ...) with its own weight (n, o, c, ...); give (1, n * o, ...)."""
    kernel = weight.shape[3:]
    reach = [step * (size - 1) + 1 for size, step in zip(kernel, dilation)]
    lengths = [(have - need) // step + 1 for have, need, step in zip(x.shape[2:], reach, stride)]
    parts = []
    for place in product(*map(range, kernel)):
        part = x
        for axis, (at, step, apart, length) in enumerate(zip(place, stride, dilation, lengths), 2):
            start = at * apart
            part = part[(slice(None),) * axis + (slice(start, start + (length - 1) * step + 1, step),)]
        parts.append(part.flatten(2))
    columns = torch.stack(parts, 2).flatten(1, 2)
    return (weight.flatten(2) @ columns).reshape(1, -1, *lengths)
