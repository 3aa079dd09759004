"""How much the outputs of a graph feel what happens to the tensors within."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from edgegan.compress import memory

SEED = 0x6AD
PROBES = 2


def parts(graph: GraphModule, batches: Sequence[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """Return the first samples of `batches`, as many as a pass over all of a graph's tensors can afford.

    They come in parts that a backward pass has room for.
    """
    left, size = memory.samples(memory.live_bytes(graph)), memory.samples(memory.tape_bytes(graph))
    chosen = []
    for batch in batches:
        kept = tuple(tensor[:left] for tensor in batch)
        left -= len(kept[0])
        chosen += zip(*(tensor.split(size) for tensor in kept)) if len(kept[0]) else ()
    return chosen


def squared_gradients(
    graph: GraphModule,
    inputs: Sequence[tuple[Tensor, ...]],
    names: Collection[str],
    see: Callable[[str, Tensor, Tensor], None],
) -> None:
    """Estimate by how much the outputs change with each value of some tensors.

    Small errors of a tensor that do not depend on each other change the outputs, in squares, by the sum of
    their squares times these (the diagonal of the Gauss-Newton matrix, as BRECQ weighs errors: Li et al.
    2021, arXiv:2102.05426, here with the outputs themselves in place of a loss, so without labels). They are
    estimated by the gradients of the outputs' sum under random signs.

    Args:
        graph: in float.
        inputs: its inputs, in parts that a backward pass has room for.
        names: the nodes of the tensors.
        see: called with the name, the values and an estimate for each value of each tensor: `PROBES` times a
            part, whose estimates add up; never where even one sample would take too much memory.
    """
    if memory.tape_bytes(graph) > memory.MOST_TAPE:
        return
    generator = torch.Generator().manual_seed(SEED)
    for part in inputs:
        _probe(graph, part, names, see, generator)


def _probe(
    graph: GraphModule,
    inputs: tuple[Tensor, ...],
    names: Collection[str],
    see: Callable[[str, Tensor, Tensor], None],
    generator: torch.Generator,
) -> None:
    """Look at gradients as they come: none is kept, but for those of the tensors where a path begins."""
    starts: dict[str, Tensor] = {}
    unseen: dict[str, Tensor] = {}

    def tell(name: str, value: Tensor, gradient: Tensor) -> None:
        unseen.pop(name, None)
        see(name, value.detach(), gradient.detach().square() / PROBES)

    class Follow(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            if n.op == "get_attr":
                return value.detach()
            if n.name not in names:
                return value
            if value.requires_grad:
                value.register_hook(lambda gradient: tell(n.name, value, gradient))
            else:
                value = starts[n.name] = value.detach().requires_grad_()
            unseen[n.name] = value
            return value

    with torch.enable_grad():
        result = Follow(graph).run(*inputs)
    made = [output for output in _outputs(result) if output.requires_grad]
    for probe in range(PROBES):
        signs = [torch.randint(0, 2, output.shape, generator=generator) * 2.0 - 1 for output in made]
        last = probe + 1 == PROBES
        gradients = torch.autograd.grad(
            made, list(starts.values()), signs, retain_graph=not last, materialize_grads=True
        )
        for (name, value), gradient in zip(starts.items(), gradients, strict=True):
            tell(name, value, gradient)
    for name, value in list(unseen.items()):
        for _ in range(PROBES):
            tell(name, value, torch.zeros_like(value))


def _outputs(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)
