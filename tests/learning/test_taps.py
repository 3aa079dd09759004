from __future__ import annotations

import torch
from torch import Tensor, nn

from edgegan.learning.taps import Tap, blocks, find_taps, recording
from edgegan.models import mlp
from edgegan.models.resnet import Generator, ProjectionDiscriminator

Z = torch.zeros(2, 8), torch.zeros(2, dtype=torch.int64)


def generator(*widths: int) -> nn.Module:
    return Generator(widths, latent=8, classes=3).eval()


def test_taps_of_the_reference_generator_are_its_blocks() -> None:
    taps = find_taps(generator(8, 4, 4, 2), generator(16, 12, 8, 6), Z, 4)
    assert taps == [
        Tap("seed", 1, 8, 16),
        Tap("blocks.0", 1, 4, 12),
        Tap("blocks.1", 1, 4, 8),
        Tap("blocks.2", 1, 2, 6),
    ]


def test_fewer_taps_keep_the_deepest() -> None:
    names = [tap.name for tap in find_taps(generator(8, 4, 4, 2), generator(16, 12, 8, 6), Z, 2)]
    assert names == ["blocks.0", "blocks.2"]


def test_blocks_of_the_discriminator() -> None:
    found = blocks(ProjectionDiscriminator(8).eval(), [torch.zeros(2, 3, 32, 32), Z[1]])
    assert {name: tuple(output.shape) for name, output in found.items()} == {
        "blocks.0": (2, 8, 16, 16),
        "blocks.1": (2, 8, 8, 8),
        "blocks.2": (2, 8, 8, 8),
        "blocks.3": (2, 8, 8, 8),
    }


class Wrapped(nn.Module):
    """Everything inside one child, sequences in sequences, a layer that is called twice, one never called."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.idle = nn.Conv2d(1, 1, 1)
        self.shared = nn.Conv2d(width, width, 3, padding=1)
        first = nn.Sequential(nn.ConvTranspose2d(4, width, 4), nn.BatchNorm2d(width), nn.ReLU())
        self.inner = nn.Sequential(first, self.shared, self.shared, nn.Conv2d(width, 3, 1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.inner(z[:, :, None, None])


def test_sequences_are_opened_and_repeated_layers_left_out() -> None:
    taps = find_taps(Wrapped(4).eval(), Wrapped(6).eval(), [torch.zeros(2, 4)], 4)
    assert taps == [Tap("inner.0.0", 1, 4, 6)]


class Tokens(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, z: Tensor) -> Tensor:
        x = self.embed(z[:, None].expand(-1, 5, -1))
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def test_token_maps_have_their_channels_last_and_spread_over_the_depth() -> None:
    taps = find_taps(Tokens(4, 6).eval(), Tokens(8, 6).eval(), [torch.zeros(2, 4)], 3)
    assert taps == [Tap("embed", 2, 4, 8), Tap("layers.2", 2, 4, 8), Tap("layers.5", 2, 4, 8)]


def test_networks_without_maps_are_compared_in_their_layers() -> None:
    z = torch.zeros(3, 6)
    student, teacher = mlp.Generator((6, 8, 12), (1, 4, 4)), mlp.Generator((6, 20, 32), (1, 4, 4))
    taps = find_taps(student.eval(), teacher.eval(), [z], 4)
    assert taps == [Tap("hidden.0", 1, 8, 20), Tap("hidden.2", 1, 12, 32)]
    critic = mlp.Discriminator((8, 4), (1, 4, 4)).eval()
    assert [*blocks(critic, [torch.zeros(3, 1, 4, 4)])] == ["hidden.1", "hidden.4"]


def test_networks_with_nothing_in_common_have_no_taps() -> None:
    assert find_taps(Tokens(4, 2).eval(), Wrapped(4).eval(), [torch.zeros(2, 4)], 4) == []


def test_recording_ends_with_its_block() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with recording(network, ["0"]) as outputs:
        network(torch.zeros(1, 2))
    kept = outputs["0"]
    network(torch.ones(1, 2))
    assert outputs["0"] is kept
