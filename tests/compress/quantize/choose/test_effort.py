"""Time and memory bounded by what a network takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgegan.compress import strips
from edgegan.compress.quantize.calibrate.calibrators import COUNTED, Histogram
from edgegan.compress.quantize.choose.effort import Effort
from edgegan.compress.quantize.deploy.integer_reference import _in_strips
from edgegan.compress.rewrite.graph import trace
from edgegan.runtime.contract import Contract, Input, Output


def graph_of(size: int) -> torch.fx.GraphModule:
    module = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    picture = (3, size, size)
    return trace(module, Contract((Input("x", picture),), (Output("y", picture),)))


def test_a_light_network_gets_all_and_a_heavy_one_fewer() -> None:
    light, heavy = Effort.of(graph_of(16), 256), Effort.of(graph_of(1024), 256)
    assert light == Effort(256, 64, 32, 256)
    assert light.bounded(256) == {}
    assert heavy.exact <= heavy.exact_most <= 4 * heavy.exact < light.exact_most
    assert 4 <= heavy.proving < light.proving
    assert 4 <= heavy.exact < heavy.judging <= heavy.calibration < 32
    assert heavy.bounded(256)["bounded"]["calibration"] == heavy.calibration


def test_strips_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = (torch.randn(size).double() for size in ((2, 4, 23, 17), (6, 2, 3, 5), (6,)))
    others = [2, 1], [1, 2], [3, 1], 2
    expected = torch.nn.functional.conv2d(x, weight, bias, *others)
    monkeypatch.setattr(strips, "ROOM", 30_000)
    assert torch.allclose(_in_strips(x, weight, bias, *others), expected, rtol=0, atol=1e-12)


def test_a_large_tensor_is_counted_in_part_but_its_ends_are_all_seen() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, COUNTED)
    x[1, 12345] = 30.0
    counted = Histogram()
    counted.add(x)
    assert counted.high == 30
    assert 0.5 * COUNTED < float(counted.counts.sum()) <= 1.1 * COUNTED
    low, high = (counted._percentiles()[end] for end in (0, 1))
    assert (low, high) == (pytest.approx(-3.7, abs=0.2), pytest.approx(3.7, abs=0.2))
