"""The suites find out what breaks a contract; they come late, and say what they need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from test_toys import BIAS, Heights, Twice, without_double_negation
from torch import Tensor, nn
from torch.fx import GraphModule

from edgegan.compress.rewrite import Change
from edgegan.errors import MissingDependency, ProofError
from edgegan.learning.losses.adversarial import LOSSES, AdversarialLoss
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.engines.onnxruntime import OnnxRuntime, OnnxRuntimeEngine
from edgegan.testing import (
    AdversarialLossTestCase,
    DistanceTestCase,
    EngineTestCase,
    MetricTestCase,
    ModalityTestCase,
    RewriteTestCase,
)

LINE = Contract((Input("z", (4,)),), (Output("x", (2,), layout=""),))


@dataclass(frozen=True)
class Mixed(Heights):
    """Scales each batch by its own largest value."""

    kind: ClassVar[str] = "mixed"

    def encode(self, array: np.ndarray, spec: Output) -> np.ndarray:
        return super().encode(array / np.abs(array).max(), spec)


class Reused(OnnxRuntimeEngine):
    """Gives every result in the same memory."""

    def __call__(self, inputs: Any) -> Any:
        result = super().__call__(inputs)
        held = self.__dict__.setdefault("held", {name: array.copy() for name, array in result.items()})
        for name, array in result.items():
            held[name][...] = array
        return held


class ReusedKind(OnnxRuntime):
    def open(self, artifact: Any, content: Any, options: Any = None) -> Reused:
        return Reused(content)


class EngineCase(EngineTestCase):
    kind = ReusedKind()


def half_a_rewrite(graph: GraphModule, contract: Contract) -> list[Change]:
    """Leave out each negation."""
    for node in list(graph.graph.nodes):
        if node.target == torch.ops.aten.neg.default:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    return [Change("half_a_rewrite", "first", "-x")]


class RewriteCase(RewriteTestCase):
    rewrite = half_a_rewrite


class GoodRewriteCase(RewriteTestCase):
    rewrite = without_double_negation


BACKWARDS = replace(BIAS, spec=replace(BIAS.spec, better="higher"))
SUM = AdversarialLoss(lambda real, fake: (fake - real).sum(), lambda real, fake: -fake.sum())
SWAPPED = replace(LOSSES["hinge"], generator=lambda real, fake: fake.mean())
CODE = Output("code", (20,), layout="")
LAND = Output("land", (6, 5), modality=Mixed())


def read(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).abs().mean() / float(teacher.abs().mean())


def root(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().sum().sqrt()


@pytest.mark.parametrize(
    ("test", "error"),
    [
        (
            lambda: ModalityTestCase().test_encoding_keeps_samples_apart_and_what_it_was_given(LAND),
            AssertionError,
        ),
        (lambda: MetricTestCase().test_it_knows_better_from_worse(BACKWARDS, CODE), AssertionError),
        (lambda: EngineCase().test_a_result_is_its_holders_and_inputs_stay_as_they_were(), AssertionError),
        (lambda: RewriteCase().test_it_says_what_it_changed((Twice(1), LINE)), ProofError),
        (
            lambda: GoodRewriteCase().test_what_it_does_not_know_is_left_alone((Twice(2), LINE)),
            AssertionError,
        ),
        (lambda: AdversarialLossTestCase().test_it_is_a_mean_over_samples(SUM), AssertionError),
        (lambda: AdversarialLossTestCase().test_the_players_pull_apart(SWAPPED), AssertionError),
        (
            lambda: DistanceTestCase().test_nothing_is_read_from_the_device(read),
            (RuntimeError, NotImplementedError),
        ),
        (lambda: DistanceTestCase().test_gradients_are_finite_where_they_are_equal(root), AssertionError),
        (lambda: DistanceTestCase().test_it_is_a_mean_over_samples(root), AssertionError),
    ],
    ids=lambda value: "" if isinstance(value, (type, tuple)) else None,
)
def test_a_broken_contract_is_found_out(test: Callable[[], None], error: type[Exception]) -> None:
    with pytest.raises(error):
        test()


def test_a_learning_student_that_is_left_in_training_is_found_out() -> None:
    from edgegan.compress.stage import Candidate
    from edgegan.testing.stages import Ran, StageTestCase

    net = nn.Sequential(nn.Linear(4, 2), nn.Dropout())
    candidate = Candidate(net.train(), net, LINE)
    ran = Ran(candidate, "", candidate, candidate, None, [(1, 2), (0, 2)])  # pyright: ignore
    with pytest.raises(AssertionError):
        StageTestCase().test_the_student_is_ready_for_the_next_stage(ran)
    with pytest.raises(AssertionError):
        StageTestCase().test_progress_goes_forward_to_an_end(ran)


def test_suites_need_pytest_and_those_of_the_device_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys\n"
        "from edgegan.testing import EngineTestCase, MetricTestCase, ModalityTestCase\n"
        "print({'torch', 'onnx', 'pydantic'} & set(sys.modules))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
    import edgegan.testing

    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(MissingDependency, match=r"edgegan\[testing\]"):
        edgegan.testing.StageTestCase  # noqa: B018
