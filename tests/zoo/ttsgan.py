"""TTS-GAN of running accelerometer series, by imics-lab/tts-gan (Apache-2.0): a transformer."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.runtime.contract import Contract, Input, Output

CHECKPOINT = "generators/ttsgan_running/RunningGAN_checkpoint"
CONTRACT = Contract((Input("z", (100,)),), (Output("series", (3, 1, 150), (-4.0, 4.0), ""),))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.keys, self.queries, self.values = (nn.Linear(width, width) for _ in range(3))
        self.att_drop = nn.Dropout(0.5)
        self.projection = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (
            self.split(self.queries(x)),
            self.split(self.keys(x)),
            self.split(self.values(x)),
        )
        weights = F.softmax(queries @ keys.transpose(-2, -1) / self.width**0.5, dim=-1)
        out = self.att_drop(weights) @ values
        return self.projection(out.transpose(1, 2).flatten(2))


class Residual(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(x)


def block(width: int, heads: int) -> nn.Sequential:
    mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.5), nn.Linear(4 * width, width))
    return nn.Sequential(
        Residual(nn.Sequential(nn.LayerNorm(width), Attention(width, heads), nn.Dropout(0.5))),
        Residual(nn.Sequential(nn.LayerNorm(width), mlp, nn.Dropout(0.5))),
    )


class Generator(nn.Module):
    def __init__(self, length: int = 150, channels: int = 3, latent: int = 100, width: int = 10) -> None:
        super().__init__()
        self.length, self.width = length, width
        self.l1 = nn.Linear(latent, length * width)
        self.pos_embed = nn.Parameter(torch.zeros(1, length, width))
        self.blocks = nn.Sequential(*(block(width, 5) for _ in range(3)))
        self.deconv = nn.Sequential(nn.Conv2d(width, channels, 1))

    def forward(self, z: Tensor) -> Tensor:
        x = self.l1(z).view(-1, self.length, self.width) + self.pos_embed
        x = self.blocks(x)
        return self.deconv(x[:, None].permute(0, 3, 1, 2))


def load(data: Path) -> nn.Module:
    module = Generator()
    stored = torch.load(data / CHECKPOINT, weights_only=True, map_location="cpu")["gen_state_dict"]
    module.load_state_dict({key.removeprefix("module."): value for key, value in stored.items()})
    return module.eval()
