"""How much the outputs of a graph feel what happens to the tensors within."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from edgegan.compress.rewrite.graph import shape

SEED = 0x6AD
PROBES = 2
ELEMENTS, TOGETHER = 1 << 24, 1 << 23
"""So many values at most the widest tensor holds, for all samples and for those of one backward pass."""


def some(graph: GraphModule, batches: Sequence[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """Return the first samples of `batches`, as many as a pass over all of a graph's tensors can afford."""
    left = max(1, ELEMENTS // _widest(graph))
    chosen = []
    for batch in batches:
        if left:
            chosen.append(tuple(tensor[:left] for tensor in batch))
            left -= len(chosen[-1][0])
    return chosen


def squared_gradients(
    graph: GraphModule, batches: Sequence[tuple[Tensor, ...]], names: Collection[str]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Estimate by how much the outputs change with each value of some tensors.

    Small errors of a tensor that do not depend on each other change the outputs, in squares, by the sum of
    their squares times these (the diagonal of the Gauss-Newton matrix, as BRECQ weighs errors: Li et al.
    2021, arXiv:2102.05426, here with the outputs themselves in place of a loss, so without labels). They are
    estimated by the gradients of the outputs' sum under random signs.

    Args:
        graph: in float.
        batches: its inputs.
        names: the nodes of the tensors.

    Yields:
        Name, values (N, ...) and squared gradients (N, ...) of each tensor, for some samples at a time.
    """
    generator = torch.Generator().manual_seed(SEED)
    size = max(1, TOGETHER // _widest(graph))
    for batch in batches:
        for part in zip(*(tensor.split(size) for tensor in batch)):
            yield from _probe(graph, part, names, generator)


def _widest(graph: GraphModule) -> int:
    """Return how many values of one sample the largest tensor holds."""
    return max(torch.Size(abs(size) for size in shape(node)[1:]).numel() for node in graph.graph.nodes)


def _probe(
    graph: GraphModule, inputs: tuple[Tensor, ...], names: Collection[str], generator: torch.Generator
) -> Iterator[tuple[str, Tensor, Tensor]]:
    values: dict[str, Tensor] = {}
    shifts: dict[str, Tensor] = {}

    class Shift(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            if n.name not in names:
                return value
            values[n.name], shifts[n.name] = value.detach(), torch.zeros_like(value, requires_grad=True)
            return value + shifts[n.name]

    with torch.enable_grad():
        result = Shift(graph).run(*inputs)
    made = [result] if isinstance(result, Tensor) else list(result)
    squares = {name: torch.zeros_like(value) for name, value in values.items()}
    for probe in range(PROBES):
        signs = [torch.randint(0, 2, output.shape, generator=generator) * 2.0 - 1 for output in made]
        gradients = torch.autograd.grad(
            made, list(shifts.values()), signs, retain_graph=probe + 1 < PROBES, materialize_grads=True
        )
        for square, gradient in zip(squares.values(), gradients, strict=True):
            square += gradient.square() / PROBES
    for name, value in values.items():
        yield name, value, squares[name]
