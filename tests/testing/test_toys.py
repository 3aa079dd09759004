"""A toy of each kind that a stranger adds, each held to its contract by the suite that ships."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from small_recipe import RECIPE, write_recipe
from torch import Tensor, nn
from torch.fx import GraphModule
from toy_modality import Heights

from edgegan.compress.rewrite import Change
from edgegan.compress.rewrite.nodes import argument, aten, layer_of
from edgegan.compress.rewrite.nodes import replace as put
from edgegan.compress.stage import Candidate, Context, Settings, Stage, StageRecord
from edgegan.compress.stages import build_stages
from edgegan.errors import InputError, ModelError, ProofError, RecipeError, StageError
from edgegan.learning.losses.adversarial import AdversarialLoss
from edgegan.measure.metrics import MetricSpec, paired
from edgegan.recipe import Recipe
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.engines.base import Check, Engine, EngineKind, Options, Port, fitted
from edgegan.runtime.modality import Modality
from edgegan.testing import (
    AdversarialLossTestCase,
    DistanceTestCase,
    EngineTestCase,
    MetricTestCase,
    ModalityTestCase,
    RewriteTestCase,
    StageTestCase,
)

CONTRACT = Contract((Input("z", (4,)),), (Output("x", (2,), layout=""),))


class HalveSettings(Settings):
    share: float = 0.5


class Halve(Stage):
    """Sets the smallest share of each weight to zero."""

    name = "halve"

    def __init__(self, settings: HalveSettings | None = None) -> None:
        self.settings = settings or HalveSettings()

    def requires(self, candidate: Candidate) -> None:
        if not any(isinstance(layer, nn.Linear) for layer in candidate.student.modules()):
            raise StageError("there is no linear layer", where="halve", next="leave the stage out")

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        student, zeros = copy.deepcopy(candidate.student), {}
        layers = [(n, layer) for n, layer in student.named_modules() if isinstance(layer, nn.Linear)]
        for done, (name, layer) in enumerate(layers, 1):
            size = layer.weight.abs()
            layer.weight.data[size < size.quantile(self.settings.share)] = 0
            zeros[name] = int((layer.weight == 0).sum())
            context.progress(done, len(layers))
        record = StageRecord(self.name, self.settings.model_dump(), {"zeros": zeros}, {})
        return candidate.with_record(record, student=student)

    def ensures(self, before: Candidate, after: Candidate) -> None:
        for name, count in after.lineage[-1].changed["zeros"].items():
            if int((after.student.get_submodule(name).get_parameter("weight") == 0).sum()) != count:
                raise ProofError(f"{name} has other zeros than were recorded")


class TestHalve(StageTestCase):
    def stage(self) -> Stage:
        return Halve()

    def candidate(self) -> Candidate:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).eval().requires_grad_(False)
        return Candidate(copy.deepcopy(net), net, CONTRACT)

    def unusable(self) -> Mapping[str, Candidate]:
        net = nn.Tanh()
        return {"nothing to halve": Candidate(net, net, CONTRACT)}

    def broken(self, before: Candidate, after: Candidate) -> Mapping[str, Candidate]:
        return {"nothing was done": replace(after, student=before.student)}


class Reference(Engine):
    """The slow, exact interpreter of the onnx package."""

    name = "reference"

    def __init__(self, content: bytes | Path) -> None:
        try:
            model = onnx.load_from_string(content if isinstance(content, bytes) else content.read_bytes())
            onnx.checker.check_model(model)
            self._run: ReferenceEvaluator | None = ReferenceEvaluator(model)
        except Exception as error:
            raise ModelError(f"it is no model: {error}") from error
        self.inputs = {port.name: _port(port) for port in model.graph.input}
        self.outputs = {port.name: _port(port) for port in model.graph.output}

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if self._run is None:
            raise InputError("the engine is closed")
        return dict(zip(self.outputs, self._run.run(None, fitted(inputs, self.inputs))))

    def close(self) -> None:
        self._run = None


def _port(value: onnx.ValueInfoProto) -> Port:
    of = value.type.tensor_type
    shape = tuple(None if size.dim_param else size.dim_value for size in of.shape.dim)
    return Port(onnx.helper.tensor_dtype_to_np_dtype(of.elem_type).name, shape)


class ReferenceKind(EngineKind):
    name = "reference"
    title = "ONNX's reference"
    packages = ("onnx",)

    def check(self) -> Check:
        return Check(self.name, f"onnx {onnx.__version__}", True, True, "on the CPU")

    def open(self, artifact: Artifact, content: bytes | Path, options: Options = Options()) -> Engine:  # noqa: B008
        return Reference(content)


class TestReference(EngineTestCase):
    kind = ReferenceKind()


class _Installed(EntryPoint):
    def load(self) -> type[Modality]:
        return Heights


class TestHeights(ModalityTestCase):
    outputs = {
        "hills": Output("land", (6, 5), modality=Heights()),
        "dunes": Output("sand", (3, 9), (0.0, 4.0), modality=Heights(7.5)),
    }

    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As if a package registered it."""
        entry = _Installed("heights", "toy:Heights", "edgegan.modalities")
        monkeypatch.setattr(
            "edgegan.plugins.entry_points", lambda group: [entry] if group == entry.group else []
        )


BIAS = paired(
    MetricSpec("worst", "worst value", "lower", ("tensor", "series")),
    lambda a, b, output: np.abs(a.astype(np.float64) - b).reshape(len(a), -1).max(axis=1),
)


class TestWorst(MetricTestCase):
    metrics = (BIAS,)


def without_double_negation(graph: GraphModule, contract: Contract) -> list[Change]:
    """Leave out two negations in a row."""
    changes = []
    for node in list(graph.graph.nodes):
        inner = argument(node, 0, "self") if node.target == aten.neg.default else None
        if inner is None or inner.target != aten.neg.default:
            continue
        source = argument(inner, 0, "self")
        layer = next((name for name in map(layer_of, source.all_input_nodes) if name), "")
        put(node, source)
        changes.append(Change("without_double_negation", layer, "--x"))
    return changes


class Twice(nn.Module):
    def __init__(self, times: int) -> None:
        super().__init__()
        self.first, self.times = nn.Linear(4, 2), times

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(self.times):
            x = -x
        return x


class TestWithoutDoubleNegation(RewriteTestCase):
    rewrite = without_double_negation
    changed = {"two": (Twice(2), CONTRACT), "three": (Twice(3), CONTRACT)}
    left_alone = {"one": (Twice(1), CONTRACT), "none": (Twice(0), CONTRACT)}


def _huber(student: Tensor, teacher: Tensor) -> Tensor:
    return nn.functional.huber_loss(student, teacher, delta=0.5)


class TestHuber(DistanceTestCase):
    distances = {"huber": _huber}


class TestSoftHinge(AdversarialLossTestCase):
    losses = {
        "soft hinge": AdversarialLoss(
            lambda real, fake: (
                nn.functional.softplus(1 - real).mean() + nn.functional.softplus(1 + fake).mean()
            ),
            lambda real, fake: -fake.mean(),
        )
    }


def test_a_recipe_names_a_stage_of_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Installed(EntryPoint):
        def load(self) -> type[Stage]:
            return Halve

    monkeypatch.setattr(
        "edgegan.plugins.entry_points",
        lambda group: [Installed("halve", "toy:Halve", group)] if group == "edgegan.stages" else [],
    )
    folder = write_recipe(tmp_path / "small", RECIPE.replace("- export: {}", "- halve: {share: 0.25}"))
    stages = build_stages(Recipe.read(folder))
    assert isinstance(stages[-1], Halve)
    assert stages[-1].settings.share == 0.25
    write_recipe(folder, RECIPE.replace("- export: {}", "- halves: {}"))
    with pytest.raises(RecipeError, match="did you mean 'halve'"):
        build_stages(Recipe.read(folder))
