from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.fx import GraphModule

from edgegan.compress import onnx_graph
from edgegan.compress.example_inputs import example
from edgegan.compress.export import to_onnx
from edgegan.compress.psnr import BEHIND_DB
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.quantize.stage import REWRITES
from edgegan.compress.rewrite import rewrite
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.target import Target

with quiet():
    from edgegan.compress.quantize.choose import candidates
    from edgegan.compress.quantize.choose.quantized_layers import choose_layers
    from edgegan.compress.quantize.deploy import integer_reference
    from edgegan.compress.quantize.deploy.int8_coverage import saturates
    from edgegan.compress.quantize.deploy.integer_reference import AsInteger, one_step
    from edgegan.compress.quantize.deploy.node_names import name_layers
    from edgegan.compress.quantize.deploy.onnx_passes import deploy
    from edgegan.compress.quantize.prepare.layers import layer_names

CONTRACT = Contract((Input("x", (3, 8, 8)),), (Output("y", (2, 16, 16), range=(-1, 1), layout=""),))
TARGETS = ["x64-cpu"] if saturates() else ["x64-cpu", "x64-cpu-vnni", "arm64-cpu"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


class Residual(nn.Module):
    """Layers between sums, activations in and outside of kernels, and moves."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1)
        self.third, self.last = nn.Conv2d(24, 32, 3, padding=1), nn.Conv2d(8, 2, 3, padding=1)
        self.slope = nn.PReLU(24)
        self.norm = nn.InstanceNorm2d(24, affine=True) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.slope(self.first(x))
        x = x + self.norm(self.second(torch.relu(x)))
        return torch.tanh(self.last(nn.functional.pixel_shuffle(torch.relu(self.third(x)), 2)))


def lowered(module: nn.Module, target: str, path: Path | None, contract: Contract = CONTRACT) -> GraphModule:
    """Return the module's quantized graph; write its INT8 file, if it is to have one."""
    goal = Target.read(target)
    assert goal.int8 is not None
    graph, _ = rewrite(module.eval(), contract, REWRITES)
    samples = candidates.Samples.of(graph, contract, 16, 0)
    layers = choose_layers(graph, ())
    start = candidates.starts(graph, samples, False)[0]
    quantized = candidates.lower(start, layers, goal.int8, "mse")
    if path is None:
        return quantized
    model = to_onnx(quantized, contract)
    name_layers(model, quantized, list(layer_names(graph).values()))
    onnx_graph.save(deploy(model, goal, contract), path)
    return quantized


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from(TARGETS))
def test_a_file_gives_what_its_graph_in_integers_gives(seed: int, target: str) -> None:
    torch.manual_seed(seed)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        graph = lowered(Residual(), target, path)
        with OnnxRuntimeEngine(path, threads=1) as engine:
            actual = engine(CONTRACT.sample(16, seed))["y"]
    expected = AsInteger(graph).run(*example(CONTRACT, 16, seed))
    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=0, atol=2e-6)


def test_jitter_tells_where_the_last_bits_of_norms_decide(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs = example(CONTRACT, 512, 0)
    changed = {}
    for norm in (False, True):
        module = Residual(norm)
        graph = lowered(module, "x64-cpu", tmp_path / "model.onnx")
        plain = AsInteger(graph).run(*inputs)
        jittered = AsInteger(graph, jitter=True).run(*inputs)
        changed[norm] = float(((plain - jittered).abs() > 1e-5).double().mean())
        shares = one_step(Artifact.of(tmp_path / "model.onnx"), graph, module, CONTRACT)
        assert shares["within_one_step"] >= shares["jittered_within_one_step"] - 0.02
        assert abs(shares["behind_db"]) < 0.2
        assert shares["settled"] is not norm
    assert changed[False] == 0
    assert 0 < changed[True] < 0.5


class Errors(nullcontext):
    """An engine in whose file's place errors are drawn from those of the graph, times a factor."""

    def __init__(self, student: nn.Module, graph: GraphModule, contract: Contract, factor: float) -> None:
        super().__init__(self)
        self.student, self.factor, self.seen = student, factor, 0
        inputs = example(contract, 4096, 1)
        self.errors = (AsInteger(graph).run(*inputs) - student(*inputs)).detach()

    def __call__(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        z = torch.from_numpy(arrays["z"])
        self.seen += len(z)
        drawn = self.errors[torch.randint(len(self.errors), (len(z),))]
        return {"y": (self.student(z) + self.factor * drawn).detach().numpy()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("far_db", "behind"), [(0.0, False), (1.5, True)])
def test_outputs_of_one_number_are_compared_until_it_is_clear_whether_they_are_behind(
    far_db: float, behind: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(seed)
    contract = Contract((Input("z", (8,)),), (Output("y", (1,), layout=""),))
    module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.Tanh()).requires_grad_(False)
    graph = lowered(module, "x64-cpu", None, contract)
    engine = Errors(module, graph, contract, 10 ** (far_db / 20))
    monkeypatch.setattr(integer_reference, "open_artifact", lambda file, threads: engine)
    shares = one_step(Artifact("int8", "model.onnx"), graph, module, contract)
    assert (shares["behind_db"] > BEHIND_DB) is behind
    assert 32 <= engine.seen <= 4096
