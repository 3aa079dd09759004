from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.cost import count
from edgegan.compress.export import to_onnx
from edgegan.compress.quantize.deploy.node_names import name_layers
from edgegan.compress.quantize.deploy.onnx_macs import layer_macs
from edgegan.compress.quantize.prepare.layers import layer_macs as graph_macs
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.rewrite import conv_to_pixel_blocks, rewrite, trace
from edgegan.runtime.contract import Contract, Input, Output


class Products(nn.Module):
    """Products of activations in operators of several kinds, over windows that merge with the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.all, self.end = nn.Linear(8, 24), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.all(x.reshape(-1, 4, 8)).chunk(3, dim=-1)
        weights = torch.einsum("nic,njc->nij", q, k).softmax(-1)
        v = v + torch.einsum("...ij->...", weights)[:, None, None]
        return self.end(torch.matmul(weights, v)).reshape(x.shape[0], 12, 2)


CASES = [
    (Products(), (12, 8)),
    (nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ConvTranspose2d(8, 4, 4, 2, 1, groups=2)), (3, 9, 9)),
    (nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose3d(4, 1, 2, 2)), (2, 4, 4, 4)),
    (nn.Sequential(nn.Conv1d(3, 6, 5, dilation=2), nn.ReLU(), nn.Conv1d(6, 6, 3, groups=6)), (3, 30)),
    (nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3, bias=False)), (6, 5)),
]


@pytest.mark.parametrize(("module", "shape"), CASES)
def test_files_and_modules_are_counted_alike(module: nn.Module, shape: tuple[int, ...]) -> None:
    module = module.eval().requires_grad_(False)
    result = tuple(module(torch.zeros(2, *shape)).shape[1:])
    contract = Contract((Input("x", shape),), (Output("y", result, layout=""),))
    graph = trace(module, contract)
    model = to_onnx(graph, contract)
    name_layers(model, graph, list(layer_names(graph).values()))
    macs = layer_macs(model)
    assert sum(macs.values()) == count(module, contract).macs
    layers = {name for name, of in module.named_modules() if name and not isinstance(of, nn.ReLU)}
    assert {name for name in macs if not name.endswith("of activations")} == layers
    assert graph_macs(graph).items() <= macs.items()


def test_zeros_of_pixel_blocks_are_no_macs() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 9, padding=4)).requires_grad_(False)
    contract = Contract((Input("x", (3, 16, 16)),), (Output("y", (3, 16, 16)),))
    graph, changes = rewrite(module, contract, [conv_to_pixel_blocks])
    assert changes
    macs = layer_macs(to_onnx(graph, contract))
    assert sum(macs.values()) == count(module, contract).macs


def test_a_rounded_weight_that_happens_to_be_zero_still_counts() -> None:
    module = nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
    module.weight[0, 1, 0] = 0
    contract = Contract((Input("x", (4, 8, 8)),), (Output("y", (4, 8, 8), layout=""),))
    model = to_onnx(module, contract)
    assert isinstance(model, onnx.ModelProto)
    assert list(layer_macs(model).values()) == [int(np.prod((64, 4, 4, 9)))]
