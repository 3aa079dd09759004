"""The graph that rewrites work on, and the proof that each of them must pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg

from edgegan.compress.example_inputs import example
from edgegan.compress.rewrite.batched import without_batched_groups
from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.functionalize import without_mutations
from edgegan.compress.rewrite.parametrization import without_parametrizations
from edgegan.errors import ModelError, ProofError
from edgegan.module_copy import copy_of
from edgegan.runtime.contract import Contract

aten = torch.ops.aten
DROPOUTS = (aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default)
TRACED_BATCH = 2
"""The size that the free batch axis stands for in a graph's shapes."""
SAMPLES = 4
TOLERANCE = 1e-4


Rewrite = Callable[[GraphModule, Contract], list[Change]]
"""Changes the graph in place and returns what it changed; it leaves alone what it does not know."""


def rewrite(
    module: nn.Module, contract: Contract, rewrites: Sequence[Rewrite]
) -> tuple[GraphModule, list[Change]]:
    """Return a rewritten copy of `module` as a graph, and what was changed.

    Spectral and weight norm are always resolved into plain weights first. After each rewrite that changed
    something the outputs on contract samples are compared with the module's.

    Raises:
        ModelError: the module cannot be traced by `torch.export`.
        ProofError: a rewrite changed the outputs by more than 1e-4 of their largest value.
    """
    samples = example(contract, SAMPLES, seed=0)
    plain, changes = (module, []) if isinstance(module, GraphModule) else without_parametrizations(module)
    expected = outputs(plain, samples)
    graph = trace(plain, contract)
    for step in rewrites:
        made = step(graph, contract)
        if made:
            graph.graph.eliminate_dead_code()
            _drop_unused_tensors(graph)
            graph.recompile()
            prove(expected, outputs(graph, samples), made)
            graph = trace(graph, contract)
            changes += made
    return graph, changes


def trace(module: nn.Module, contract: Contract) -> GraphModule:
    """Return a copy of `module` as a graph of ATen operators with a free batch axis.

    Idle dropout is left out, and operators that write over their input are replaced.

    Raises:
        ModelError: the module cannot be traced.
    """
    batch = torch.export.Dim("batch")
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch\.|copyreg")
            warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")
            program = torch.export.export(
                _frozen_copy(module),
                example(contract, TRACED_BATCH, seed=0),
                dynamic_shapes=tuple({0: batch} for _ in contract.inputs),
            )
    except Exception as error:
        reason = next(
            (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        raise ModelError(
            f"the module cannot be traced: {reason}",
            where=type(module).__name__,
            next="write its forward without branches on values, and without a fixed batch size in reshapes",
        ) from error
    traced = program.module(check_guards=False)
    assert isinstance(traced, GraphModule)
    without_mutations(traced)
    if without_batched_groups(traced):
        return trace(traced, contract)
    for node in list(traced.graph.nodes):
        if node.target in DROPOUTS and not argument(node, 2, "train"):
            replace(node, node.args[0])
    traced.recompile()
    return traced


def outputs(module: Callable[..., Any], samples: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run `module` without gradients and return its outputs as a tuple."""
    with torch.no_grad():
        result = module(*samples)
    return (result,) if isinstance(result, Tensor) else tuple(result)


def watch(graph: GraphModule, inputs: tuple[Tensor, ...], see: Callable[[Node, Any], None]) -> None:
    """Run `graph` without gradients and show each node's value to `see`."""

    class Watch(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            see(n, value)
            return value

    with torch.no_grad():
        Watch(graph).run(*inputs)


def constant(graph: GraphModule, node: object) -> Tensor | None:
    """Return the tensor that `node` reads from the module, or None where it is computed."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value: object = graph
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value.detach() if isinstance(value, Tensor) else None


def add_constant(graph: GraphModule, name: str, value: Tensor) -> Node:
    """Store `value` in the module as a parameter near `name`; return the node that reads it.

    Call it within `graph.graph.inserting_before(...)`.
    """
    path, _, leaf = name.rpartition(".")
    owner: nn.Module = graph
    for part in path.split(".") if path else []:
        if not isinstance(getattr(owner, part, None), nn.Module):
            setattr(owner, part, nn.Module())
        owner = getattr(owner, part)
    unique, count = leaf, 2
    while hasattr(owner, unique):
        unique, count = f"{leaf}_{count}", count + 1
    owner.register_parameter(unique, nn.Parameter(value.contiguous(), requires_grad=False))
    node = graph.graph.get_attr(f"{path}.{unique}" if path else unique)
    node.meta["val"] = value
    return node


def layer_of(node: object) -> str:
    """Return the name of the layer whose weight `node` reads."""
    return str(node.target).rpartition(".")[0] if isinstance(node, Node) else ""


def argument(node: Node, position: int, name: str, default: Any = None) -> Any:
    """Return an operator's argument, however it was passed."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def shape(node: object) -> tuple[int, ...]:
    """Return the shape of a node's tensor; a free axis is -1."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    if not isinstance(value, Tensor):
        return ()
    return tuple(size if isinstance(size, int) else -1 for size in value.shape)


def only_reader(node: Node, reader: Node) -> bool:
    """Whether `reader` alone reads `node`."""
    return list(node.users) == [reader]


def replace(node: Node, by: Node) -> None:
    """Let `by` take the place of `node`."""
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)


def depends_on(node: Node, known: dict[Node, frozenset[Node]]) -> frozenset[Node]:
    """Return the inputs of the graph behind `node`; `known` holds those of the nodes before it."""
    if node.op == "placeholder":
        return frozenset([node])
    return frozenset().union(*(known[source] for source in node.all_input_nodes))


def evaluate(graph: GraphModule, node: Node, inputs: Mapping[Node, Any]) -> Any:
    """Compute one node's value from the values of the inputs that it depends on."""
    values: dict[Node, Any] = dict(inputs)

    def value(source: Node) -> Any:
        if source not in values:
            if source.op == "get_attr":
                values[source] = constant(graph, source)
            else:
                args, kwargs = map_arg((source.args, source.kwargs), value)
                values[source] = source.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]
        return values[source]

    with torch.no_grad():
        return value(node)


def _frozen_copy(module: nn.Module) -> nn.Module:
    copied = copy_of(module)
    return copied if isinstance(copied, GraphModule) else copied.eval()


def _drop_unused_tensors(graph: GraphModule) -> None:
    used = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    tensors = [*graph.named_parameters(remove_duplicate=False), *graph.named_buffers(remove_duplicate=False)]
    for name, _ in tensors:
        if name not in used:
            owner, _, leaf = name.rpartition(".")
            delattr(graph.get_submodule(owner), leaf)


def prove(expected: tuple[Tensor, ...], actual: tuple[Tensor, ...], made: list[Change]) -> None:
    """Raise `ProofError` where `actual` differs from `expected` by more than 1e-4 of its largest value."""
    for before, after in zip(expected, actual, strict=True):
        bound = TOLERANCE * max(1e-6, float(before.abs().max()))
        error = float((before - after).abs().max()) if before.shape == after.shape else float("nan")
        if not error <= bound:
            raise ProofError(
                f"the rewrite {made[0].rewrite!r} changed the outputs by {error:.3g} (at most {bound:.3g})",
                where=", ".join(change.layer for change in made),
                next="report the model's layers; leave this rewrite out meanwhile",
            )
