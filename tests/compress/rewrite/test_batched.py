"""Convolutions with weights of each sample's own."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.example_inputs import example
from edgegan.compress.export import to_onnx
from edgegan.compress.rewrite import rewrite
from edgegan.runtime.contract import Contract, Input, Output


class Own(nn.Module):
    def __init__(self, transposed: bool, bias: bool, **settings: Any) -> None:
        super().__init__()
        self.transposed, self.settings = transposed, settings
        self.style, self.first = nn.Linear(6, 5), nn.Linear(6, 5 * 30)
        self.weight = nn.Parameter(torch.randn(1, 7, 5, 3, 4))
        self.bias = nn.Linear(6, 7) if bias else None

    def forward(self, z: Tensor) -> Tensor:
        n = z.shape[0]
        weight = self.weight * (1 + self.style(z)).reshape(n, 1, 5, 1, 1)
        x = self.first(z).reshape(1, n * 5, 5, 6)
        bias = self.bias(z).reshape(-1) if self.bias else None
        if self.transposed:
            y = F.conv_transpose2d(
                x, weight.transpose(1, 2).reshape(n * 5, 7, 3, 4), bias, groups=n, **self.settings
            )
        else:
            y = F.conv2d(x, weight.reshape(n * 7, 5, 3, 4), bias, groups=n, **self.settings)
        return y.reshape(n, 7, *y.shape[2:])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("transposed", "settings"),
    [
        (False, {"padding": 1}),
        (False, {"stride": 2}),
        (False, {"dilation": 2, "padding": (2, 3)}),
        (True, {"stride": 2, "padding": 1}),
        (True, {"stride": 3, "output_padding": 1}),
        (True, {"padding": 2}),
    ],
)
def test_they_become_products_of_matrices(transposed: bool, settings: dict[str, Any], bias: bool) -> None:
    torch.manual_seed(0)
    module = Own(transposed, bias, **settings).eval()
    with torch.no_grad():
        shape = tuple(module(torch.randn(1, 6)).shape[1:])
    contract = Contract((Input("z", (6,)),), (Output("y", shape, layout=""),))
    graph, _ = rewrite(module, contract, ())
    session = onnxruntime.InferenceSession(to_onnx(graph, contract).SerializeToString())
    for n in (1, 4):
        (z,) = example(contract, n, 0)
        with torch.no_grad():
            expected = module(z).numpy()
        np.testing.assert_allclose(
            np.asarray(session.run(None, {"z": z.numpy()})[0]), expected, rtol=1e-5, atol=1e-5
        )
