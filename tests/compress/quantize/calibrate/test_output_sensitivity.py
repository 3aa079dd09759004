from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgegan.compress.quantize.calibrate.calibration import observe
from edgegan.compress.quantize.calibrate.calibrators import Histogram
from edgegan.compress.quantize.calibrate.output_sensitivity import parts, squared_gradients
from edgegan.compress.rewrite.graph import trace
from edgegan.runtime.contract import Contract, Input, Output

CONTRACT = Contract((Input("z", (8,)),), (Output("y", (4,)),))


def test_gradients_of_a_linear_layer_are_the_squares_of_its_weights() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    graph = trace(module, CONTRACT)
    found = gradients(graph, [(torch.randn(40, 8),)] * 3, "relu", "linear_1")
    assert len(found["relu"]) == 120
    assert torch.equal(found["linear_1"], torch.ones(120, 4))
    expected = module[2].weight.detach().square().sum(0)  # pyright: ignore[reportCallIssue]
    assert torch.allclose(found["relu"].mean(0), expected, rtol=0.5)
    again = [gradients(graph, [(torch.ones(3, 8),)], "relu")["relu"] for _ in range(2)]
    assert torch.equal(*again)


def gradients(graph: GraphModule, inputs: list[tuple[Tensor, ...]], *names: str) -> dict[str, Tensor]:
    """Return name to squared gradients, those of all parts one behind the other."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    squared_gradients(graph, inputs, names, lambda name, _, squares: found[name].append(squares))
    pairs = {name: zip(parts[::2], parts[1::2], strict=True) for name, parts in found.items()}
    return {name: torch.cat([first + second for first, second in pair]) for name, pair in pairs.items()}


def test_what_no_output_reads_matters_nothing() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle, self.chosen = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(4, 4)

        def forward(self, z: Tensor) -> Tensor:
            y = self.used(z)
            return y + self.idle(z).floor() + self.chosen(y).argmax(1, keepdim=True)

    parts = [(torch.randn(5, 8),), (torch.randn(3, 8),)]
    found = gradients(trace(Idle(), CONTRACT), parts, "linear", "linear_1", "linear_2")
    assert found["linear"].eq(1).all()
    for name in ("linear_1", "linear_2"):
        assert found[name].eq(0).all()
        assert len(found[name]) == 8


def test_a_pass_takes_what_it_can_afford() -> None:
    graph = trace(nn.Sequential(nn.Linear(8, 1 << 21), nn.Linear(1 << 21, 4)), CONTRACT)
    chosen = parts(graph, [(torch.zeros(9, 8),)] * 4)
    assert [len(part[0]) for part in chosen] == [9, 6]


def test_what_the_outputs_do_not_show_does_not_stretch_the_range() -> None:
    values = torch.randn(5000)
    values[:50] *= 40
    histogram = Histogram()
    histogram.add(values)
    weights = (values.abs() < 4).float()
    for part, weight in zip(values.split(100), weights.split(100)):
        histogram.weigh(part, weight)
    plain, _ = histogram.levels("mse", -127, 127, symmetric=True)
    weighted, _ = histogram.levels("weighted_mse", -127, 127, symmetric=True)
    assert weighted * 127 < 6 < 30 < plain * 127


@pytest.mark.parametrize("seed", range(3))
def test_a_saturated_output_does_not_stretch_the_range(seed: int) -> None:
    class Painter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(8, 4), nn.Linear(4, 4)

        def forward(self, z: Tensor) -> Tensor:
            return torch.tanh(self.last(self.first(z) ** 3))

    torch.manual_seed(seed)
    graph = trace(Painter(), CONTRACT)
    histograms = observe(graph, [(4 * torch.randn(64, 8),)]).histograms
    histogram = histograms["pow_1"]
    plain, _ = histogram.levels("mse", 0, 255, symmetric=False)
    weighted, _ = histogram.levels("weighted_mse", 0, 255, symmetric=False)
    assert weighted < 0.5 * plain
