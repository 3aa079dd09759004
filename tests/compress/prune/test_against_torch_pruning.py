"""Groups of channels are those of torch-pruning's dependency graph, on networks that it can follow."""

from __future__ import annotations

import pytest
import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.example_inputs import example
from edgegan.compress.prune.channels import find_groups
from edgegan.runtime.contract import Contract, Input, Output


class Residual(nn.Module):
    """Skips by addition, each with norms of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(12, 9, 3, padding=1), nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 12, 1))
            for _ in range(2)
        )
        self.norm, self.out = nn.BatchNorm2d(12), nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return torch.tanh(self.out(F.relu(self.norm(x))))


class Dense(nn.Module):
    """Features that are concatenated, and a depthwise convolution over all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 10, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.out = nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.leaky_relu(self.first(x), 0.2)
        b = F.leaky_relu(self.second(a), 0.2)
        return torch.tanh(self.out(self.depthwise(torch.cat([a, b], 1))))


class Seeded(nn.Module):
    """A latent made a picture, whose channels are many columns each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(5, 7 * 16), nn.BatchNorm2d(7)
        self.up, self.out = nn.ConvTranspose2d(7, 6, 4, 2, 1), nn.ConvTranspose2d(6, 3, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(z).view(-1, 7, 4, 4)))
        return torch.tanh(self.out(F.relu(self.up(x))))


OUTPUT = (Output("y", (3, 16, 16), (-1.0, 1.0)),)
PICTURE, LATENT = Contract((Input("x", (3, 16, 16)),), OUTPUT), Contract((Input("z", (5,)),), OUTPUT)
NETWORKS = {"residual": (Residual, PICTURE), "dense": (Dense, PICTURE), "seeded": (Seeded, LATENT)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_each_channel_takes_the_same_others_with_it(name: str) -> None:
    build, contract = NETWORKS[name]
    torch.manual_seed(0)
    module = build().eval()
    graph = tp.DependencyGraph().build_dependency(module, example(contract, 1, 0))
    names = {layer: name for name, layer in module.named_modules()}
    groups = find_groups(module, contract).readings[0]
    assert len(groups) > 1
    for group in groups:
        root = module.get_submodule(group.root)
        made = next(slot for slot in group.slots if (slot.layer, slot.side) == (group.root, "outputs"))
        pruner = graph.get_pruner_of_module(root)
        assert pruner is not None
        for channel, positions in enumerate(made.positions):
            ours = {(slot.layer, one) for slot in group.slots for one in slot.positions[channel]}
            members = graph.get_pruning_group(root, pruner.prune_out_channels, list(positions))
            theirs = {
                (names[dependency.target.module], index)
                for dependency, indices in members
                for index in indices
                if dependency.target.module in names
            }
            assert ours == theirs
