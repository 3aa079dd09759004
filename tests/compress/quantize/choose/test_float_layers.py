from __future__ import annotations

from collections.abc import Collection
from math import log10
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgegan.compress.export import export_onnx
from edgegan.compress.quantize.choose import candidates
from edgegan.compress.quantize.choose.budget import Budget
from edgegan.compress.quantize.choose.float_layers import Switched, cheapest, fewer, ladder
from edgegan.compress.quantize.choose.layer_times import estimated, profile, runs_here
from edgegan.compress.quantize.choose.quantized_layers import choose_layers
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.rewrite.graph import trace
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.target import Target

BUDGET = Budget.of({"psnr_db": 40})
LAYERS = st.dictionaries(st.text("abcdef", min_size=1), st.floats(0, 10), min_size=1)


def test_the_most_error_for_its_time_goes_first_and_what_is_not_needed_stays() -> None:
    gained = {"large": 5.0, "small": 4.0, "middling": 1.0}
    cost = {"large": 10.0, "small": 1.0, "middling": 0.1}.__getitem__
    assert cheapest(gained, 3.0, cost) == ["small"]
    assert cheapest(gained, 4.5, cost) == ["middling", "small"]
    assert cheapest(gained, 5.0, cost) == ["middling", "small"]


@given(LAYERS, st.floats(0, 20))
def test_what_is_chosen_gains_what_is_wanted_and_nothing_more_than_it_takes(
    gained: dict[str, float], wanted: float
) -> None:
    chosen = cheapest(gained, wanted, lambda layer: 1.0 + len(layer))
    reached = sum(gained[layer] for layer in chosen)
    goal = min(wanted, max(sum(gained.values()) / 2, max(gained.values())))
    assert reached >= goal * (1 - 1e-9)
    assert all(reached - gained[layer] <= goal * (1 + 1e-9) for layer in chosen)


def test_each_layer_of_a_file_is_found_in_the_engines_profile(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 64, 5, padding=2), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 16, 1), nn.Upsample(scale_factor=2), nn.Conv2d(16, 3, 3, padding=1), nn.Tanh(),
    ).eval()  # fmt: skip
    contract = Contract((Input("x", (3, 24, 24)),), (Output("y", (3, 48, 48)),))
    export_onnx(module, contract, tmp_path / "model.onnx")
    times = profile(tmp_path / "model.onnx", contract.sample(1, 0))
    assert len(times) == 4
    assert max(times.values()) == times[list(times)[1]] > 0


def test_where_the_device_is_another_machine_times_are_estimated() -> None:
    assert not runs_here(Target.read("jetson-orin-nano"))
    times = estimated({"a": 10**6, "b": 10**8}, {"a": 10**4, "b": 10**4})
    assert not times.measured
    assert times.lost("b") > 10 * times.lost("a") > 0
    assert times.float["a"] / times.int8["a"] == pytest.approx(2.5)


@pytest.mark.parametrize(("reached", "counts"), [(39.0, [1, 2]), (36.0, [2])])
def test_the_error_falls_by_as_much_as_the_file_was_over_the_budget(
    reached: float, counts: list[int]
) -> None:
    """The few samples looked at are within the budget, or not: what counts is what the file reached."""

    class Graphs:
        around = dict.fromkeys("abc")

        def switch(self, in_float: Collection[str]) -> int:
            return len(in_float)

        def sure_psnr_db(self, in_float: int) -> float:
            return -10 * log10(0.3e-4 * (3 - in_float) + 1e-9)

    graphs: Any = Graphs()
    times = estimated(dict.fromkeys("abc", 10**6), dict.fromkeys("abc", 10))
    rungs = ladder(graphs, graphs, BUDGET, times, rounds=6, reached=reached, asked=False)
    assert [len(rung) for rung in rungs] == counts


def test_where_the_best_layer_costs_more_than_may_be_lost_others_are_tried() -> None:
    class Graphs:
        around = {"dear": None, "cheap": None, "third": None}

        def switch(self, in_float: Collection[str]) -> float:
            return 3e-4 - 2.5e-4 * ("dear" in in_float) - 0.4e-4 * ("cheap" in in_float)

        def sure_psnr_db(self, error: float) -> float:
            return -10 * log10(error)

    graphs: Any = Graphs()
    times = estimated({"dear": 10**9, "cheap": 10**6, "third": 10**6}, dict.fromkeys(Graphs.around, 10))
    assert ladder(graphs, graphs, BUDGET, times, rounds=6, reached=35.2, asked=False) == [["cheap"]]
    assert "dear" in ladder(graphs, graphs, BUDGET, times, rounds=6, reached=35.2, asked=True)[0]


class Weighed:
    """Layers whose errors add up, with something left where all are in float."""

    def __init__(self, **errors: float) -> None:
        self.around, self.errors, self.looks = errors, errors, 0

    def switch(self, in_float: Collection[str]) -> float:
        self.looks += 1
        return 1e-5 + sum(error for layer, error in self.errors.items() if layer not in in_float)

    def sure_psnr_db(self, error: float) -> float:
        return -10 * log10(error)


def test_what_a_budget_does_not_need_goes_back_to_int8() -> None:
    graphs: Any = Weighed(rough=5e-4, dear=2e-5, cheap=2e-5, light=1e-7)
    names = [*graphs.around]
    times = estimated(dict(zip(names, (10**6, 10**9, 10**6, 10**6))), dict.fromkeys(names, 10))
    parts = fewer(graphs, graphs, names, times, limit_db=43.5)
    assert parts[0] == ["rough", "cheap"], "the dear one, and the one that costs nothing"
    assert all({"rough"} <= {*part} < {*names} for part in parts)
    assert [len(part) for part in parts] == sorted({len(part) for part in parts})
    assert graphs.looks == 2 * len(names) + 1


@pytest.mark.parametrize(("chosen", "limit_db"), [(["rough"], 20.0), (["rough", "dear"], 50.0)])
def test_one_layer_stays_and_where_nothing_is_spare_nothing_goes_back(
    chosen: list[str], limit_db: float
) -> None:
    graphs: Any = Weighed(rough=5e-4, dear=2e-5)
    times = estimated(dict.fromkeys(graphs.around, 10**6), dict.fromkeys(graphs.around, 10))
    assert fewer(graphs, graphs, chosen, times, limit_db=limit_db) == []


class Summed(nn.Module):
    """Layers that read each other's outputs, through an activation or not, and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third, self.last = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z)
        return self.last(x + self.third(torch.relu(self.second(x))))


@pytest.mark.parametrize("target", ["x64-cpu", "jetson-orin-nano"])
def test_layers_that_are_switched_to_float_give_what_a_graph_without_them_gives(target: str) -> None:
    torch.manual_seed(0)
    contract = Contract((Input("z", (16,)),), (Output("y", (16,), layout=""),))
    graph, int8 = trace(Summed().eval().requires_grad_(False), contract), Target.read(target).int8
    assert int8 is not None
    samples = candidates.Samples.of(graph, contract, 16, 0)
    (start,), layers = candidates.starts(graph, samples, False), choose_layers(graph, ())
    with quiet():
        switched = Switched(graph, layers, int8, candidates.calibration(start, int8, "mse"))
        for in_float in ([], ["first"], ["second"], ["third"], ["first", "third"], ["second", "last"]):
            lowered = candidates.lower(start, layers.without(in_float), int8, "mse")
            found, expected = (samples.sure_psnr_db(of) for of in (switched.switch(in_float), lowered))
            assert found == pytest.approx(expected, abs=0.1), in_float
