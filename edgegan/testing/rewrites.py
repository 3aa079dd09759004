"""What every rewrite of a graph has to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.example_inputs import example
from edgegan.compress.fingerprint import of_module
from edgegan.compress.rewrite import Change, Rewrite, rewrite, trace
from edgegan.runtime.contract import Contract

Case = tuple[nn.Module, Contract]


class RewriteTestCase:
    """Holds an exact rewrite to `edgegan.compress.rewrite.Rewrite`.

    Give `rewrite`; `changed`, networks that it rewrites; and `left_alone`, those that it must know not to
    touch: near misses, as other strides, values that others read too, shapes that do not divide.
    """

    rewrite: ClassVar[Rewrite]
    changed: ClassVar[Mapping[str, Case]]
    left_alone: ClassVar[Mapping[str, Case]]
    tolerance: ClassVar[float] = 1e-5
    """By so much, as a share of the largest output, may float32 outputs be off."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on each of its networks."""
        for name, cases in (("case", self.changed), ("near_miss", self.left_alone)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, list(cases.values()), ids=list(cases))

    def rewritten(self, case: Case) -> tuple[nn.Module, list[Change]]:
        """Return the graph after the rewrite, and what it says it changed."""
        module, contract = case
        return rewrite(module.eval(), contract, [type(self).rewrite])

    def test_it_says_what_it_changed(self, case: Case) -> None:
        _, changes = self.rewritten(case)
        assert changes, "it changed nothing"
        module, contract = case
        known = {name for name, _ in module.named_modules()} | set(module.state_dict())
        known |= {node.name for node in trace(module, contract).graph.nodes}
        for change in changes:
            assert change.rewrite == getattr(type(self).rewrite, "__name__", change.rewrite)
            assert change.layer in known, "name a layer as the module does, or the node of what has no name"

    @pytest.mark.parametrize("batch", [1, 2, 5])
    def test_outputs_stay_on_batches_of_any_size(self, case: Case, batch: int) -> None:
        module, contract = case
        graph, _ = self.rewritten(case)
        inputs = example(contract, batch, seed=11)
        for ours, theirs in zip(_outputs(graph, inputs), _outputs(module, inputs), strict=True):
            bound = self.tolerance * max(1e-6, float(theirs.abs().max()))
            torch.testing.assert_close(ours, theirs, rtol=0, atol=bound)

    def test_the_module_is_not_changed(self, case: Case) -> None:
        before = of_module(case[0])
        self.rewritten(case)
        assert of_module(case[0]) == before

    def test_what_comes_out_can_be_traced_and_rewritten_again(self, case: Case) -> None:
        module, contract = case
        graph, _ = self.rewritten(case)
        again, _ = rewrite(trace(graph, contract), contract, [type(self).rewrite])
        inputs = example(contract, 2, seed=12)
        for ours, theirs in zip(_outputs(again, inputs), _outputs(module, inputs), strict=True):
            bound = 2 * self.tolerance * max(1e-6, float(theirs.abs().max()))
            torch.testing.assert_close(ours, theirs, rtol=0, atol=bound)

    def test_what_it_does_not_know_is_left_alone(self, near_miss: Case) -> None:
        module, contract = near_miss
        graph = trace(module.eval(), contract)
        before = graph.print_readable(print_output=False)
        assert type(self).rewrite(graph, contract) == []
        assert graph.print_readable(print_output=False) == before


def _outputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        result = module(*inputs)
    return (result,) if isinstance(result, Tensor) else tuple(result)
