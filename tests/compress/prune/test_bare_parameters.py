"""Parameters that a module holds itself lose channels with the layers that they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress import structure
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.contract import Contract, Input, Output

CONTRACT = Contract((Input("z", (6,)),), (Output("y", (3, 8, 8)),))


class Layer(nn.Module):
    """A convolution whose noise, bias, gain and slope are parameters of the module, in many shapes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.strength = (
            nn.Conv2d(width, width, 3, padding=1),
            nn.Parameter(torch.tensor([0.3, 0.2])),
        )
        self.bias, self.gain = nn.Parameter(torch.randn(1, width, 1, 1)), nn.Parameter(torch.randn(width))
        self.alpha = nn.ParameterList([torch.randn(width, 1, 1)])
        self.register_buffer("noise", torch.randn(1, 1, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x) * self.gain.view(1, -1, 1, 1) + self.strength[0] * self.noise + self.bias
        return y + torch.sin(self.alpha[0].exp() * y) ** 2


class Net(nn.Module):
    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.start, self.style = nn.Parameter(torch.randn(1, width, 8, 8)), nn.Linear(6, width)
        self.a, self.b, self.rgb = Layer(width), Layer(width), nn.Conv2d(width, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.start * self.style(z)[:, :, None, None]
        return torch.tanh(self.rgb(F.relu(self.b(F.relu(self.a(x))))))


def test_they_lose_channels_with_the_layers_that_they_belong_to(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Net().eval().requires_grad_(False)
    stage, before = Prune(PruneSettings(macs=0.5)), Candidate(module, module, CONTRACT)
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    student: Any = after.student
    assert len(after.lineage[-1].changed["widths"]) == 3, after.lineage[-1].changed["whole"]
    assert student.start.shape[1] == student.style.out_features == student.a.conv.in_channels < 24
    for layer in (student.a, student.b):
        sizes = {layer.conv.out_channels, layer.bias.shape[1], layer.gain.shape[0], layer.alpha[0].shape[0]}
        assert len(sizes) == 1
        assert layer.strength.shape == (2,)
    structure.save(student, tmp_path)
    z = torch.randn(2, 6)
    assert torch.equal(structure.load(Net(), tmp_path)(z), student(z))
