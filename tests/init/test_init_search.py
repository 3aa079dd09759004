"""Inputs of several kinds and sizes that only complaints tell: series, point clouds, poses, Gumbel tables."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from edgegan.init.search import MOST_VALUES, search


class Sensors(nn.Module):
    """A series of noise, what is fixed of it, and the hour."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.hours = nn.Conv1d(7, 12, 3, padding=1), nn.Embedding(24, 9)
        self.film, self.out = nn.Linear(4 + 9, 12), nn.Linear(12, 3)

    def forward(self, noise: Tensor, static: Tensor, hour: Tensor) -> Tensor:
        n, steps, _ = noise.shape
        time = torch.arange(steps) / 24
        x = torch.cat([noise, torch.stack([time, time.sin()], 1).expand(n, -1, -1)], -1)
        x = self.conv(x.permute(0, 2, 1)).transpose(1, 2)
        return self.out(x * self.film(torch.cat([static, self.hours(hour)], 1))[:, None])


class Poses(nn.Module):
    """Goes on from 10 past poses of 39 coordinates, in cosines."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cosines", torch.randn(16, 16))
        self.mix, self.inside = nn.Parameter(torch.randn(39, 39)), nn.Linear(16 + 11, 16)

    def forward(self, poses: Tensor, z: Tensor) -> Tensor:
        x = torch.cat([poses, poses[:, -1:].expand(-1, 6, -1)], 1)
        x = torch.einsum("kl,bln->bnk", self.cosines, x)
        x = self.mix @ self.inside(torch.cat([x, z[:, None].expand(-1, x.shape[1], -1)], 2))
        return x.transpose(1, 2)


class Cloud(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.out = nn.Conv1d(3, 16, 1), nn.Linear(16, 30)

    def forward(self, xyz: Tensor) -> Tensor:
        return self.out(self.net(xyz.transpose(2, 1)).amax(-1)).view(-1, 10, 3)


class Words(nn.Module):
    """Words drawn one by one with the noise of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.length, self.table, self.out = 5, nn.Embedding(23, 14), nn.Linear(14, 23)

    def forward(self, z: Tensor, gumbel: Tensor) -> Tensor:
        given, x = [], z
        for step in range(self.length):
            x = (self.out(x) + gumbel[:, step]).softmax(-1) @ self.table.weight + z
            given.append(x)
        return torch.stack(given, 1)


class Settings(nn.Module):
    """A row of a table from noise and a condition, whose widths only its settings tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(z_dim=48, cond_dim=13)
        self.out = nn.Linear(48 + 13, 9)

    def forward(self, noise: Tensor, cond: Tensor) -> Tensor:
        return self.out(torch.cat([noise, cond], 1))


class Shares(nn.Module):
    """A latent in three shares, and no look at what is behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.film = nn.Linear(20, 24), nn.ModuleList(nn.Linear(20, 24) for _ in range(2))
        self.out = nn.Linear(48, 48)

    def forward(self, z: Tensor) -> Tensor:
        first, *shares = torch.split(z, 20, 1)
        x = self.first(first)
        parts = [torch.tanh(x * film(share)) for share, film in zip(shares, self.film)]
        return self.out(torch.cat(parts, 1)).view(-1, 3, 4, 4)


class Decoder(nn.Sequential):
    """Decodes a map of features, four times as large: it runs on one place too."""

    def __init__(self) -> None:
        super().__init__(*(nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in ((24, 16), (16, 3))))


class Spread(nn.Sequential):
    """Makes a picture of 16 of a latent of one place: it runs on more too."""

    def __init__(self) -> None:
        wider = (nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in ((16, 8), (8, 3)))
        super().__init__(nn.ConvTranspose2d(24, 16, 4), *wider)


class Grid(nn.Module):
    """Four fields on a grid of its own, which lies beside them."""

    area: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("area", torch.rand(1, 1, 12, 20))
        self.conv = nn.Conv2d(5, 6, 3, padding=1)

    def forward(self, fields: Tensor) -> Tensor:
        return self.conv(torch.cat([fields, self.area.expand(len(fields), -1, -1, -1)], 1))


class Excited(nn.Module):
    """Sound of a spectrogram, and of a source at the rate of the sound."""

    def __init__(self) -> None:
        super().__init__()
        self.pre, self.up = nn.Conv1d(20, 16, 7, padding=3), nn.ConvTranspose1d(16, 8, 64, 32, 16)
        self.beside, self.post = nn.Conv1d(1, 8, 1), nn.Conv1d(8, 1, 7, padding=3)

    def forward(self, mel: Tensor, har_source: Tensor) -> Tensor:
        return self.post(self.up(self.pre(mel)) + self.beside(har_source)).tanh()


@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (Grid, [(4, 12, 20)]),
        (Excited, [(20, 32), (1, 1024)]),
        (Decoder, [(24, 8, 8)]),
        (Spread, [(24, 1, 1)]),
        (Settings, [(48,), (13,)]),
        (Shares, [(60,)]),
        (Sensors, [(32, 5), (4,), ()]),
        (Poses, [(10, 39), (11,)]),
        (Cloud, [(32, 3)]),
        (Words, [(14,), (5, 23)]),
    ],
)
def test_inputs_of_several_kinds_are_found(network: type[nn.Module], shapes: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    found = search(network().eval().requires_grad_(False)).inputs
    assert found is not None
    assert [guess.shape for guess in found] == shapes


class Refusing(nn.Module):
    """Runs on nothing, and complains of a size that no input can have as its width."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.given: list[tuple[int, ...]] = []

    def forward(self, image: Tensor, photo: Tensor) -> Tensor:
        self.given += [(*image.shape, *photo.shape)]
        raise ValueError("shape '[2, 7]' is invalid for input of size 24576")


def test_trying_ends_in_time_and_tries_nothing_twice_and_nothing_huge() -> None:
    network = Refusing().eval()
    start = time.monotonic()

    found = search(network, seconds=2)

    assert time.monotonic() - start < 10
    assert found.inputs is None
    assert [guess.shape for guess in found.likeliest] == [(3, 64, 64), (3, 64, 64)]
    assert "size 24576" in found.complaint
    tried = [shape for shape in network.given if len(shape) == 8]
    assert max(math.prod(half) for shape in tried for half in (shape[1:4], shape[5:])) <= MOST_VALUES
    assert len(tried) == len(set(tried))
