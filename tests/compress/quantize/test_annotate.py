from __future__ import annotations

import torch
from torch import Tensor, nn

from edgegan.compress.inputs import example
from edgegan.compress.quantize.quiet import quiet
from edgegan.compress.rewrite import trace
from edgegan.runtime.contract import Contract, Input, Output

with quiet():
    from edgegan.compress.quantize.annotate import X64Quantizer, last_layers, layer_macs
    from edgegan.compress.quantize.neural_compressor import quantize, quantize_by_torchao

CONTRACT = Contract((Input("x", (3, 4, 4)),), (Output("y", (2, 8, 8)),))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.last(nn.functional.interpolate(x + self.second(x), scale_factor=2)).tanh()


def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def test_layers_macs_and_the_last() -> None:
    graph = trace(net(), CONTRACT)
    assert layer_macs(graph) == {"first": 16 * 108, "second": 16 * 16, "last": 64 * 8}
    assert last_layers(graph) == {"last": False}


def test_neural_compressor_and_torchao_alone_give_the_same_network() -> None:
    batches = [example(CONTRACT, 8, seed) for seed in range(3)]

    def calibrate(graph: torch.fx.GraphModule) -> None:
        for batch in batches:
            graph(*batch)

    with quiet():
        alone = quantize_by_torchao(trace(net(), CONTRACT), X64Quantizer(skip=["last"]), calibrate)
        ours = quantize(
            trace(net(), CONTRACT), batches, weight_max=63, calibrator="mse", skip=["last"], float_outputs=[]
        )
    x = torch.randn(5, 3, 4, 4)
    assert torch.equal(alone(x), ours(x))
    kinds = [str(node.target) for node in ours.graph.nodes if "quantized_decomposed" in str(node.target)]
    assert sum("dequantize_per_channel" in kind for kind in kinds) == 2
    assert float((ours(x) - net()(x)).detach().abs().max()) < 0.1
