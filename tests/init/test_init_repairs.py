"""What `init` tries after a network's complaints: other axes, sizes and kinds of inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from edgegan.init.search import search


class Steps(nn.Module):
    """Takes a picture beside a latent and a step: a layer at a time says what it wants."""

    def __init__(self) -> None:
        super().__init__()
        self.of_z, self.conv = nn.Linear(34, 12), nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, z: Tensor) -> Tensor:
        shift = self.of_z(z) * t[:, None]
        return self.conv(x) + shift[:, :, None, None]


class Levels(nn.Module):
    """Maps of features of two levels, the one twice as large, and nothing else says so."""

    def __init__(self) -> None:
        super().__init__()
        self.deep, self.shallow = nn.Conv2d(24, 16, 3, padding=1), nn.Conv2d(10, 3, 3, padding=1)

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        return self.shallow(torch.cat([F.pixel_shuffle(self.deep(z1), 2), z0], 1))


class Rooms(nn.Module):
    """A latent, a kind, and a coarse map of sizes that only its constructor names."""

    def __init__(self, noise: int = 26, rooms: int = 6) -> None:
        super().__init__()
        self.fc, self.conv = nn.Linear(noise + rooms, 40 * 5 * 7), nn.Conv2d(40 + 4 + rooms, 9, 3, padding=1)

    def forward(self, z: Tensor, room: Tensor, sketch: Tensor) -> Tensor:
        x = self.fc(torch.cat([z, room], 1)).view(-1, 40, 5, 7)
        return self.conv(torch.cat([x, sketch, room[:, :, None, None].expand(-1, -1, 5, 7)], 1))


class Codebooks(nn.Module):
    """Indices of three codebooks for each step of a sound; nothing of it is an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.books = nn.ParameterList([nn.Parameter(torch.randn(11, 20)) for _ in range(3)])
        self.up = weight_norm(nn.ConvTranspose1d(20, 1, 8, 4))

    def forward(self, codes: Tensor) -> Tensor:
        rows = torch.stack([F.embedding(codes[:, place], book) for place, book in enumerate(self.books)])
        return self.up(rows.sum(0).transpose(1, 2))


class Voices(nn.Module):
    """Cepstra of one height, since they become rows, and which two voices."""

    def __init__(self, speakers: int = 4) -> None:
        super().__init__()
        self.conv, self.rows = nn.Conv2d(1, 10, 4, 2, 1), nn.Conv1d(10 * 18, 36, 1)
        self.voice = nn.Linear(2 * speakers, 36)

    def forward(self, x: Tensor, c_src: Tensor, c_trg: Tensor) -> Tensor:
        rows = self.rows(self.conv(x).flatten(1, 2))
        return rows * self.voice(torch.cat([c_src, c_trg], 1))[:, :, None]


class Keys(nn.Module):
    """A picture, and five points in a row that only a view tells of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, source: Tensor, anchors: Tensor) -> Tensor:
        moved = anchors.view(-1, 5, 2).sum(-1)
        return self.conv(source).tanh() * moved[:, :, None, None]


class Tracks(nn.Module):
    """A latent for all, and rows of which it looks at three."""

    def __init__(self, shared: int = 22) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(shared + 6, 8) for _ in range(3)])

    def forward(self, z_shared: Tensor, z_tracks: Tensor) -> Tensor:
        rows = (head(torch.cat([z_shared, z_tracks[:, place]], 1)) for place, head in enumerate(self.heads))
        return torch.stack(list(rows), 1)


class Luma(nn.Module):
    """Brightness, by the letter that labels have too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 9, 3, padding=1)

    def forward(self, y: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(y), 3)


@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (Steps, [(3, 64, 64), (), (34,)]),
        (Levels, [(6, 16, 16), (24, 8, 8)]),
        (Rooms, [(26,), (6,), (4, 5, 7)]),
        (Codebooks, [(3, 32)]),
        (Voices, [(1, 36, 64), (4,), (4,)]),
        (Keys, [(3, 64, 64), (10,)]),
        (Tracks, [(22,), (3, 6)]),
        (Luma, [(1, 64, 64)]),
    ],
)
def test_inputs_are_found_by_what_is_said_of_others(
    network: type[nn.Module], shapes: list[tuple[int, ...]]
) -> None:
    torch.manual_seed(0)
    found = search(network().eval().requires_grad_(False)).inputs
    assert found is not None
    assert [guess.shape for guess in found] == shapes


class Late(nn.Module):
    """Runs on a latent, and on no second input at all."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(20, 12)

    def forward(self, z: Tensor, other: Tensor) -> Tensor:
        self.fc(z)
        raise ValueError("the second is wrong")


def test_the_complaint_told_is_that_of_the_inputs_on_which_a_network_ran_farthest() -> None:
    found = search(Late().eval(), seconds=2)
    assert found.complaint == "ValueError: the second is wrong"
    assert found.likeliest[0].shape == (20,)
