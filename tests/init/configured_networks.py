"""Generators whose sizes stand in a configuration, and others as odd, as their users write them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Config:
    z_dim: int = 64
    channels: int = 32


class ByDataclass(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.linear, self.out = (
            nn.Linear(config.z_dim, 16 * config.channels),
            nn.Conv2d(config.channels, 3, 1),
        )

    def forward(self, z: Tensor):
        return torch.tanh(self.out(self.linear(z).view(len(z), -1, 4, 4)))


class ByMapping(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.linear = nn.Linear(cfg["model"]["latent"], 3 * cfg.model.side**2)
        self.side = cfg["model"]["side"]

    def forward(self, z: Tensor):
        return torch.tanh(self.linear(z)).view(-1, 3, self.side, self.side)


class Styles(nn.Module):
    """Takes a latent of its own for each layer."""

    def __init__(self, num_ws=6, w_dim=28):
        super().__init__()
        self.num_ws = num_ws
        self.const = nn.Parameter(torch.randn(1, 8, 4, 4))
        self.affine = nn.ModuleList(nn.Linear(w_dim, 8) for _ in range(num_ws))
        self.rgb = nn.Conv2d(8, 3, 1)

    def forward(self, ws: Tensor):
        assert ws.shape[1] == self.num_ws
        x = self.const
        for affine, w in zip(self.affine, ws.unbind(1)):
            x = F.leaky_relu(x * (1 + affine(w))[..., None, None], 0.2)
        return self.rgb(x).clamp(-1, 1)


class Located(nn.Module):
    """A transformer whose length stands in the constant that it adds."""

    def __init__(self, steps=16, width=12):
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, steps, width))
        self.first, self.mix, self.last = (
            nn.Conv1d(8, width, 1),
            nn.Linear(width, width),
            nn.Conv1d(width, 20, 1),
        )

    def forward(self, z: Tensor):
        return torch.sigmoid(self.last(self.mix(self.first(z).transpose(1, 2) + self.place).transpose(1, 2)))


class Fitted(nn.Module):
    """Pads what is up-sampled to the size of the skip, where halves do not meet."""

    def __init__(self, width=6):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(2 * width, 3, 1)
        self.up, self.pool = nn.ConvTranspose2d(width, width, 2, 2), nn.MaxPool2d(2)

    def forward(self, x: Tensor):
        skip = self.first(x)
        x = self.up(self.pool(skip.relu()))
        rows, columns = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
        if rows != 0 or columns != 0:
            x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        return torch.sigmoid(self.last(torch.cat([skip, x], 1)))
