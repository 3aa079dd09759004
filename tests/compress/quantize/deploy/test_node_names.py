from __future__ import annotations

import torch
from torch import Tensor, nn

from edgegan.compress.export import to_onnx
from edgegan.compress.quantize.deploy.node_names import name_layers
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.rewrite.graph import trace
from edgegan.runtime.contract import Contract, Input, Output


class Cells(nn.Module):
    """Weights of other names than `weight`, read at two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.cell = nn.Linear(4, 3), nn.LSTMCell(3, 5)

    def forward(self, z: Tensor) -> Tensor:
        x, state = self.start(z), (z.new_zeros(z.shape[0], 5), z.new_zeros(z.shape[0], 5))
        for _ in range(2):
            state = self.cell(x, state)
        return torch.tanh(state[0])


def test_every_step_of_a_cell_is_named_after_it() -> None:
    contract = Contract((Input("z", (4,)),), (Output("y", (5,), layout=""),))
    graph = trace(Cells().eval(), contract)
    model = to_onnx(graph, contract)
    name_layers(model, graph, list(layer_names(graph).values()))
    named = [node.name for node in model.graph.node if node.op_type == "Gemm"]
    assert named == ["start", "cell", "cell@2", "cell@3"], "the first state is zero"
