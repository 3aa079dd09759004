from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.example_inputs import example
from edgegan.compress.rewrite.graph import aten, trace
from edgegan.runtime.contract import Contract, Input, Output

CONTRACT = Contract((Input("x", (4, 6, 6)),), (Output("y", (4, 6, 6), layout=""),))


class Residual(nn.Module):
    """As torchvision writes it; the branch is read once more after it was written over."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.relu, self.drop = nn.ReLU(inplace=True), nn.Dropout(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.first(x)
        kept = branch * 2
        self.relu(branch)
        x = self.drop(self.second(branch))
        x += branch
        return nn.functional.leaky_relu_(x, 0.1) + kept


class Viewed(Residual):
    """A view sees what is written over the tensor behind it."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        view = x.flatten(2)
        torch.relu_(x)
        return self.second(view.unflatten(2, (6, 6)))


class Behind(Residual):
    """What is written over a view is seen in the tensor behind it."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x[:, :2].relu_()
        return self.second(x)


class Alone(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu_(self.first(x).flatten(2).unflatten(2, (6, 6))))


@pytest.mark.parametrize(
    ("module", "left"),
    [(Residual(), 0), (Viewed(), 1), (Behind(), 1), (Alone(), 0)],
    ids=lambda of: str(of)[:8],
)
def test_what_nothing_else_sees_writes_over_nothing(module: nn.Module, left: int) -> None:
    graph = trace(module.eval(), CONTRACT)
    x = example(CONTRACT, 5, 0)
    torch.testing.assert_close(graph(*x), module(*x), rtol=0, atol=0)
    targets = [node.target for node in graph.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    assert sum(target._schema.is_mutable for target in targets) == left
    assert aten.dropout.default not in targets
