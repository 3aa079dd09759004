"""Inputs of several kinds and sizes that only complaints tell: series, point clouds, poses, Gumbel tables."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


class Spade(nn.Module):
    """A picture of 32 from a map of 6 classes, which it looks at in several sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.label_nc, self.first, self.scale = 6, nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(6, 8, 1)
        self.out = nn.Conv2d(8, 3, 1)

    def forward(self, segmap: Tensor) -> Tensor:
        x = self.first(F.interpolate(segmap, size=(8, 8)))
        x = F.interpolate(x, scale_factor=4) * self.scale(F.interpolate(segmap, size=(32, 32)))
        return torch.tanh(self.out(x))


class Labelled(Spade):
    """The same, of a map that is called a label."""

    def forward(self, label: Tensor) -> Tensor:
        return super().forward(label)


class Rows(nn.Conv1d):
    """Sound without an axis of channels."""

    def __init__(self) -> None:
        super().__init__(1, 1, 9, padding=4)

    def forward(self, noisy_speech: Tensor) -> Tensor:
        return super().forward(noisy_speech.unsqueeze(1)).squeeze(1)


class Semantics(nn.Conv2d):
    """A picture from a map of 9 classes and the edges of what is on it."""

    def __init__(self) -> None:
        super().__init__(10, 3, 3, padding=1)

    def forward(self, semantics: Tensor, edges: Tensor) -> Tensor:
        return super().forward(torch.cat([semantics, edges], 1))


class Places(nn.Module):
    """A picture from a map of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(9, 8), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, labels: Tensor) -> Tensor:
        return self.out(self.table(labels).permute(0, 3, 1, 2))


class Patches(nn.Module):
    """Patches of 4 on a grid of 6x10, as only its settings tell, behind a token of their own."""

    def __init__(self, image_size: tuple[int, int] = (24, 40)) -> None:
        super().__init__()
        self.image_size, self.cut, self.mix = image_size, nn.Conv2d(1, 16, 4, 4), nn.Linear(16, 16)
        self.token, self.places = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.randn(1, 61, 16))

    def forward(self, img: Tensor) -> Tensor:
        x = self.cut(img).flatten(2).transpose(1, 2)
        x = self.mix(torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places)[:, 1:]
        return F.pixel_shuffle(x.transpose(1, 2).unflatten(2, [side // 4 for side in self.image_size]), 4)


class Positions(nn.Module):
    """Patches of 8, and as many positions as 40x40 has: one patch would do as well."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.out = nn.Conv2d(3, 24, 8, 8), nn.Linear(24, 192)
        self.pos_embed = nn.Parameter(torch.randn(1, 25, 24))

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x)
        patches = self.out(x.flatten(2).transpose(1, 2) + self.pos_embed).transpose(1, 2)
        return F.pixel_shuffle(patches.reshape(len(x), -1, *x.shape[2:]), 8)


class Windows(nn.Conv2d):
    """Windows of 8, and masks for the 49 of a picture of 56."""

    attn_mask: Tensor

    def __init__(self) -> None:
        super().__init__(3, 3, 1)
        self.register_buffer("attn_mask", torch.zeros(49, 64, 64))

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        n, c, h, w = x.shape
        x = x.view(n, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(n, 49, 64, c)
        x = ((x @ x.transpose(2, 3) + self.attn_mask).softmax(-1) @ x).view(n, h // 8, w // 8, 8, 8, c)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


class Puppet(nn.Module):
    """Moves a picture by key points and what is around each."""

    def __init__(self) -> None:
        super().__init__()
        self.num_kp, self.near = 5, nn.Conv2d(3 + 5, 6, 3, padding=1)

    def forward(self, source: Tensor, kp_source: Tensor, kp_driving: Tensor, kp_jacobian: Tensor) -> Tensor:
        sides = [torch.linspace(-1, 1, side) for side in source.shape[2:]]
        grid = torch.stack(torch.meshgrid(*sides, indexing="ij")[::-1], -1)
        apart = grid - kp_driving[:, :, None, None]
        moved = (kp_jacobian[:, :, None, None] @ apart[..., None])[..., 0] + kp_source[:, :, None, None]
        shares = self.near(torch.cat([source, (-apart.square().sum(-1)).exp()], 1)).softmax(1)
        return F.grid_sample(source, (shares[:, 1:, ..., None] * moved).sum(1), align_corners=True)


class Flattened(nn.Conv2d):
    """Moves a picture by key points in one row."""

    def __init__(self) -> None:
        super().__init__(3 + 7, 3, 3, padding=1)
        self.points = 7

    def forward(self, source: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        rows = torch.cat([kp_driving - kp_source, source.mean((1, 2, 3))[:, None]], 1)
        shift = rows[:, :-1].view(len(source), self.points, 2).sum(2)
        maps = shift[:, :, None, None].expand(-1, -1, *source.shape[2:])
        return super().forward(torch.cat([source, maps], 1))


class Denoiser(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(4, 3, 3, padding=1)

    def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
        level = noise_level.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        return x - super().forward(torch.cat([x, level], 1))


class Separator(nn.Linear):
    """Masks the spectrum of a mixture, of any length, with or without an axis of channels."""

    def __init__(self) -> None:
        super().__init__(129, 129)

    def forward(self, mix: Tensor) -> Tensor:
        x = mix.squeeze(1) if mix.dim() == 3 else mix
        window = torch.ones(256)
        spectrum = torch.stft(x, 256, 64, window=window, return_complex=True)
        masked = spectrum * super().forward(spectrum.abs().transpose(1, 2)).transpose(1, 2)
        return torch.istft(masked, 256, 64, window=window, length=x.shape[-1])[:, None]


@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (Spade, [(6, 32, 32)]),
        (Labelled, [(6, 32, 32)]),
        (Rows, [(8192,)]),
        (Semantics, [(9, 64, 64), (1, 64, 64)]),
        (Places, [(64, 64)]),
        (Patches, [(1, 24, 40)]),
        (Positions, [(3, 40, 40)]),
        (Windows, [(3, 56, 56)]),
        (Puppet, [(3, 64, 64), (5, 2), (5, 2), (5, 2, 2)]),
        (Flattened, [(3, 64, 64), (14,), (14,)]),
        (Denoiser, [(3, 64, 64), ()]),
        (Separator, [(1, 8192)]),
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
