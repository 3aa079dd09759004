"""Modulated convolutions become plain ones between factors of the sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.example_inputs import example
from edgegan.compress.rewrite import trace
from edgegan.compress.rewrite.nodes import aten, shape
from edgegan.runtime.contract import Contract, Input, Output


class Modulated(nn.Module):
    """As StyleGAN2's: demodulated or not, up-sampled by a transposed convolution, the kernel flipped."""

    def __init__(self, demodulate: bool, up: bool, flip: bool, inputs: int, outputs: int) -> None:
        super().__init__()
        self.demodulate, self.up, self.flip = demodulate, up, flip
        self.style, self.first = nn.Linear(6, inputs), nn.Linear(6, inputs * 20)
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, 3, 3))

    def forward(self, z: Tensor) -> Tensor:
        n, (_, outputs, inputs, *_) = z.shape[0], self.weight.shape
        x = self.first(z).view(n, inputs, 4, 5)
        weight = 0.2 * self.weight * (1 + self.style(z)).view(n, 1, inputs, 1, 1)
        if self.demodulate:
            norm = torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8)
            weight = weight * norm.view(n, outputs, 1, 1, 1)
        if self.flip:
            weight = weight.flip([3, 4])
        x = x.reshape(1, n * inputs, 4, 5)
        if self.up:
            weight = weight.transpose(1, 2).reshape(n * inputs, outputs, 3, 3)
            x = F.conv_transpose2d(x, weight, stride=2, groups=n)
        else:
            merged = weight.flatten(0, 1) if self.flip else weight.view(n * outputs, inputs, 3, 3)
            x = F.conv2d(x, merged, padding=1, groups=n)
        return x.view(n, outputs, *x.shape[2:])


@pytest.mark.parametrize(
    "how",
    [
        (True, False, True, 5, 7),
        (True, True, True, 6, 6),
        (False, True, False, 5, 7),
        (False, False, False, 4, 4),
    ],
)
def test_their_weights_are_constants(how: Any) -> None:
    torch.manual_seed(0)
    module = Modulated(*how).eval().requires_grad_(False)
    size = tuple(module(torch.ones(1, 6)).shape[1:])
    contract = Contract((Input("z", (6,)),), (Output("y", size, layout=""),))
    graph = trace(module, contract)
    for n in (1, 4):
        (z,) = example(contract, n, 0)
        torch.testing.assert_close(graph(z), module(z), rtol=1e-4, atol=1e-5)
    convs = [
        node
        for node in graph.graph.nodes
        if node.target in (aten.conv2d.default, aten.conv_transpose2d.input)
    ]
    assert [node.args[1].op for node in convs] == ["get_attr"]
    own = [node for node in graph.graph.nodes if node.op == "call_function" and shape(node)[3:4] == (3,)]
    assert not own, "weights of each sample's own are left"
