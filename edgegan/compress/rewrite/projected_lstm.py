"""LSTMs that project what they give (Sak et al. 2014, arXiv:1402.1128), which ONNX lacks, as plain ones.

The projection R is linear, so the gates' U R x of the state before it are a recurrence with the weights U R,
and the layer's output is R of what a plain LSTM gives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from edgegan.compress.rewrite.nodes import aten, constant, replace

ZEROS = (aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default)


def plain_lstm(graph: GraphModule, node: Node) -> bool:
    """Replace a projected LSTM that starts from zeros; say whether it was one."""
    x, states, names, biased, layers, _, _, both, batch_first = list[Any](node.args)
    weights = [constant(graph, name) for name in names]
    each = len(names) // (layers * (2 if both else 1))
    if each != (5 if biased else 3) or any(weight is None for weight in weights):
        return False
    hidden, cells = states
    if hidden.target not in ZEROS:
        return False
    name = f"spelled_{node.name}"
    parts = [weights[start : start + each] for start in range(0, len(weights), each)]
    setattr(graph, name, _Plain(parts, 2 if both else 1, batch_first))  # pyright: ignore[reportArgumentType]
    with graph.graph.inserting_before(node):
        replace(node, graph.graph.call_module(name, (x, cells)))
    return True


class _Plain(nn.Module):
    """The same LSTM; `parts` are the weights of each direction of each layer, the projection last."""

    def __init__(self, parts: list[list[Tensor]], directions: int, batch_first: bool) -> None:
        super().__init__()
        self.directions, self.batch_first = directions, batch_first
        self.projections = nn.ParameterList([part[-1] for part in parts])
        self.weights = nn.ParameterList(
            one for into, back, *biases, out in parts for one in (into, _product(back, out), *biases)
        )
        self.biased = len(parts[0]) == 5
        self.requires_grad_(False)

    def forward(self, x: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count, kept = self.directions, list[Tensor]()
        each = len(self.weights) // len(self.projections) * count
        states, last = cells.unflatten(0, (-1, count)), list[Tensor]()
        for layer in range(len(self.projections) // count):
            weights = list(self.weights)[layer * each : (layer + 1) * each]
            state = (torch.zeros_like(states[layer]), states[layer])
            made, ends, memory = torch.lstm(
                x, state, weights, self.biased, 1, 0.0, False, count == 2, self.batch_first
            )
            out = list(self.projections)[layer * count : (layer + 1) * count]
            x = torch.cat([F.linear(one, w) for one, w in zip(made.chunk(count, -1), out)], -1)
            last += [F.linear(one, w) for one, w in zip(ends, out)]
            kept.append(memory)
        return x, torch.stack(last), torch.cat(kept)


def _product(back: Tensor, out: Tensor) -> Tensor:
    return (back.double() @ out.double()).to(back.dtype)
