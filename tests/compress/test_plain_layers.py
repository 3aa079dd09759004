"""Layers of a network's own that are plain ones but for weights computed at every run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.plain_layers import make_layers_plain
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.contract import Contract, Input, Output

CONTRACT = Contract((Input("x", (8,)),), (Output("y", (3, 8, 8), layout=""),))


class Scaled(nn.Module):
    """An equalized learning rate, for any kind of convolution; the bias has a rate of its own."""

    def __init__(self, *shape: int, gain: float = 0.1, **settings: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(*shape)), nn.Parameter(torch.ones(shape[0]))
        self.gain, self.settings = gain, settings

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.ndim == 2:
            return F.linear(x, self.weight * self.gain, self.bias * 0.5)
        return F.conv2d(x, self.weight * self.gain, self.bias, **self.settings)


class Standardized(Scaled):
    """Weights without mean, of unit variance."""

    def forward(self, x: Tensor) -> Tensor:
        mean, spread = self.weight.mean((1, 2, 3), keepdim=True), self.weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, (self.weight - mean) / spread, padding="same")


class Activated(Scaled):
    """More than a layer: it stays as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class Up(Scaled):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight * self.gain, stride=2, padding=1, output_padding=1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seed, self.up = Scaled(32 * 16, 8), Up(32, 16, 3, 3)
        self.twice, self.grouped = (
            Scaled(16, 16, 3, 3, padding=1),
            Scaled(16, 8, 3, 3, padding=2, dilation=2, groups=2),
        )
        self.norm, self.last, self.rgb = (
            Standardized(16, 16, 3, 3),
            Activated(16, 16, 1, 1),
            Scaled(3, 16, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.seed(x).view(x.shape[0], -1, 4, 4))
        x = self.norm(F.relu(self.grouped(self.twice(F.relu(self.twice(x))))))
        return self.rgb(self.last(x))


def test_they_become_torchs_own_and_compute_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Net().eval().requires_grad_(False)
    x = torch.randn(4, 8)
    before = module(x)
    names = make_layers_plain(module, CONTRACT)
    assert names == ["seed", "up", "twice", "grouped", "norm", "rgb"]
    assert [type(layer).__name__ for layer in (module.seed, module.up, module.last)] == [
        *("Linear", "ConvTranspose2d", "Activated")
    ]
    torch.testing.assert_close(module(x), before, rtol=1e-4, atol=1e-5)
    assert make_layers_plain(module, CONTRACT) == []
    stage, candidate = Prune(PruneSettings(channels=0.6)), Candidate(module, module, CONTRACT)
    after = stage.run(candidate, Context(tmp_path))
    stage.ensures(candidate, after)
    assert "seed" in after.lineage[-1].changed["widths"]


class Tied(nn.Module):
    """The same weight as a layer's, scaled, and as a network reads it elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.out = Scaled(16, 8), nn.Linear(8, 3 * 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.linear(F.relu(self.wide(x)), self.wide.weight.t())).view(-1, 3, 8, 8)


def test_a_layer_whose_weight_is_read_elsewhere_stays() -> None:
    torch.manual_seed(0)
    module = Tied().eval().requires_grad_(False)
    before = module(torch.ones(1, 8))
    assert make_layers_plain(module, CONTRACT) == []
    assert isinstance(module.wide, Scaled)
    assert torch.equal(module(torch.ones(1, 8)), before)
