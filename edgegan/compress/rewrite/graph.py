"""The graph that rewrites work on, and the proof that each of them must pass."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from edgegan.compress.example_inputs import example
from edgegan.compress.free_axes import dynamic_shapes, traceable, trials, written
from edgegan.compress.precise import precise_outputs
from edgegan.compress.rewrite.batched import without_batched_groups
from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.fourier import without_complex
from edgegan.compress.rewrite.functionalize import without_mutations
from edgegan.compress.rewrite.input_sizes import tell_sizes_by_inputs
from edgegan.compress.rewrite.lengths import free_lengths, free_whole_numbers
from edgegan.compress.rewrite.nodes import (
    TRACED_BATCH,
    add_constant,
    argument,
    aten,
    constant,
    depends_on,
    elements,
    evaluate,
    layer_of,
    only_reader,
    replace,
    shape,
)
from edgegan.compress.rewrite.parametrization import without_parametrizations
from edgegan.compress.rewrite.spelled_out import spell_out
from edgegan.errors import ModelError, ProofError
from edgegan.module_copy import copy_of
from edgegan.runtime.contract import Contract

__all__ = [
    "Rewrite",
    "add_constant",
    "argument",
    "aten",
    "constant",
    "depends_on",
    "elements",
    "evaluate",
    "layer_of",
    "only_reader",
    "outputs",
    "prove",
    "replace",
    "rewrite",
    "shape",
    "trace",
    "watch",
]

DROPOUTS = (aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default)
SAMPLES = 4
TOLERANCE = 1e-4
ROUNDINGS = 8
"""So many times as far as float32 takes a module from float64 may a rewrite take it."""
FAR = 0.01
"""By that share of the largest value, no rounding moves outputs."""


Rewrite = Callable[[GraphModule, Contract], list[Change]]
"""Changes the graph in place and returns what it changed; it leaves alone what it does not know."""


def rewrite(
    module: nn.Module, contract: Contract, rewrites: Sequence[Rewrite]
) -> tuple[GraphModule, list[Change]]:
    """Return a rewritten copy of `module` as a graph, and what was changed.

    Spectral and weight norm are always resolved into plain weights first. After each rewrite that changed
    something the outputs on contract samples are compared with the module's. Where sizes are free, a rewrite
    that does not hold at others than the nominal ones is taken back.

    Raises:
        ModelError: the module cannot be traced by `torch.export`, or draws random numbers.
        ProofError: a rewrite changed the outputs by more than 1e-4 of their largest value, and by more than
            some times what float32 itself does.
    """
    samples = example(contract, SAMPLES, seed=0)
    others = [example(contract.at(sizes), 1, seed=0) for sizes in trials(contract, smallest=False)]
    plain, changes = (module, []) if isinstance(module, GraphModule) else without_parametrizations(module)
    expected = outputs(plain, samples)
    elsewhere = [outputs(plain, other) for other in others]
    graph = trace(plain, contract)
    for step in rewrites:
        before = copy_of(graph) if others else graph
        made = step(graph, contract)
        if made:
            graph.graph.eliminate_dead_code()
            _drop_unused_tensors(graph)
            graph.recompile()
            try:
                prove(expected, outputs(graph, samples), made)
            except ProofError:
                _check_repeats(plain, samples, expected)
                prove(
                    expected, outputs(graph, samples), made, ROUNDINGS * _rounding(plain, samples, expected)
                )
            try:
                for other, wanted in zip(others, elsewhere):
                    prove(wanted, outputs(graph, other), made)
                graph = trace(graph, contract)
            except Exception:
                if not others:
                    raise
                graph = trace(before, contract)
                continue
            changes += made
    return graph, changes


def _rounding(module: nn.Module, samples: tuple[Tensor, ...], rounded: tuple[Tensor, ...]) -> float:
    """Return how far float32 takes `module` from float64: far where it sorts, or takes what is nearest."""
    precise = precise_outputs(module, samples)
    pairs = zip(rounded, precise) if precise is not None else ()
    return max((float((one.double() - exact).abs().max()) for one, exact in pairs), default=0.0)


def _check_repeats(module: nn.Module, samples: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    """Raise `ModelError` where `module` gives anything else than before on `samples`."""
    again = zip(outputs(module, samples), expected)
    if not all(torch.allclose(one, other, equal_nan=True) for one, other in again):
        raise ModelError(
            "the same input gives another output each time: no stage can prove that it keeps the outputs",
            where=type(module).__name__,
            next="`edgegan lint` names the layers that draw random numbers, and what to put in their place",
        )


def trace(module: nn.Module, contract: Contract) -> GraphModule:
    """Return a copy of `module` as a graph of ATen operators with a free batch axis.

    Idle dropout is left out, operators that write over their input are replaced, convolutions of weights of
    each sample's own get another form, what is complex is written in real numbers, and what engines lack in
    operators that they have.

    Raises:
        ModelError: the module cannot be traced, or what it makes of free sizes is fixed once it is.
    """
    graph = _traced(module, contract)
    if not isinstance(module, GraphModule):
        _check_sizes(module, graph, contract)
    return graph


def _traced(module: nn.Module, contract: Contract) -> GraphModule:
    try:
        program = _program(module, contract)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next(iter(lines), type(error).__name__)
        advice = "write its forward without branches on values, and without a fixed batch size in reshapes"
        violated = re.match(r"Constraints violated \(([\w, ]+)\)", reason)
        fixed = [
            size.name
            for size in contract.sizes
            if violated and re.search(rf"\b{size.name}(_steps)?\b", violated[1])
        ]
        if fixed:
            wanted = ", ".join(line for line in lines if re.match(r"\w+ = ", line))
            reason = f"its forward does not take every {' and '.join(fixed)}; torch.export asks for {wanted}"
            advice = (
                "correct `min` and `multiple` of the contract's sizes; or take sizes from x.shape in forward"
            )
        elif violated:
            reason = "its forward takes the size of the batch for a fixed number, as int(x.shape[0]) does"
            advice = "write -1 or x.shape[0] for the batch in reshapes and loops"
        raise ModelError(
            f"the module cannot be traced: {reason}", where=type(module).__name__, next=advice
        ) from error
    traced = program.module(check_guards=False)
    assert isinstance(traced, GraphModule)
    traced._forward_pre_hooks.clear()  # they hold sizes to two steps at least: torch.export takes 1 for fixed
    without_mutations(traced)
    if without_batched_groups(traced) or without_complex(traced) or spell_out(traced):
        return _traced(traced, contract)
    tell_sizes_by_inputs(traced)
    for node in list(traced.graph.nodes):
        if node.target in DROPOUTS and not argument(node, 2, "train"):
            replace(node, node.args[0])
    traced.recompile()
    return traced


def _program(module: nn.Module, contract: Contract) -> torch.export.ExportedProgram:
    """Trace a copy; where a size is fixed by it, once more with the sizes that `int` would fix kept free."""

    def traced() -> torch.export.ExportedProgram:
        return torch.export.export(
            _frozen_copy(module),
            example(traceable(contract), TRACED_BATCH, seed=0),
            dynamic_shapes=dynamic_shapes(contract),
        )

    # the best order of a product of many is found for sizes that are numbers, which fixes the batch
    in_order = torch.backends.opt_einsum.flags(enabled=False)
    with torch.no_grad(), free_lengths(module), in_order, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.|copyreg")
        warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")
        try:
            return traced()
        except Exception as error:
            if "Constraints violated" in str(error) and not isinstance(module, GraphModule):
                with suppress(Exception), free_whole_numbers(module):
                    return traced()
            raise


def _check_sizes(module: nn.Module, graph: GraphModule, contract: Contract) -> None:
    """Raise `ModelError` where the graph at other sizes than its own is far from the module.

    Some operators take a number that follows from a size, as adaptive pooling does, for a fixed one.
    """
    others = trials(contract, smallest=False)
    eager = _frozen_copy(module) if others else module
    for sizes in others:
        inputs = example(contract.at(sizes), 1, seed=0)
        try:
            expected = outputs(eager, inputs)
        except Exception:
            continue  # lint names the sizes at which a module does not run
        try:
            near = _are_near(expected, outputs(graph, inputs))
        except Exception:
            near = False
        if not near and _are_near(expected, outputs(eager, inputs)):
            raise ModelError(
                "the module cannot be traced: a number that follows from its sizes is fixed once it is, and "
                f"at {written(sizes)} the outputs are others",
                where=type(module).__name__,
                next="write the contract's sizes as numbers; or pool and resize by factors, not to sizes",
            )


def _are_near(expected: tuple[Tensor, ...], actual: tuple[Tensor, ...]) -> bool:
    return all(
        one.shape == other.shape
        and torch.allclose(one, other, rtol=0, atol=FAR * float(one.abs().max()), equal_nan=True)
        for one, other in zip(expected, actual, strict=True)
    )


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


def prove(
    expected: tuple[Tensor, ...], actual: tuple[Tensor, ...], made: list[Change], least: float = 0.0
) -> None:
    """Raise `ProofError` where `actual` differs from `expected` by more than 1e-4 of its largest value.

    By `least` it may differ in any case.
    """
    for before, after in zip(expected, actual, strict=True):
        bound = max(least, TOLERANCE * max(1e-6, float(before.abs().max())))
        error = float((before - after).abs().max()) if before.shape == after.shape else float("nan")
        if not error <= bound:
            raise ProofError(
                f"the rewrite {made[0].rewrite!r} changed the outputs by {error:.3g} (at most {bound:.3g})",
                where=", ".join(change.layer for change in made),
                next="report the model's layers; leave this rewrite out meanwhile",
            )
