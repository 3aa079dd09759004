"""Generators of attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo_models.ports import Architecture, contract, image, latent, values


class Attention(nn.Module):
    """Heads from one Linear of queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        weights = (query @ key.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(n, length, width))


class Windows(nn.Module):
    """Attention in windows of a picture of tokens, every second time shifted by half a window."""

    def __init__(self, width: int, heads: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.window, self.shift = window, window // 2 if shifted else 0

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        w = self.window
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.view(n, height // w, w, width // w, w, channels).permute(0, 1, 3, 2, 4, 5)
        x = self.attention(x.reshape(-1, w * w, channels))
        x = x.view(n, height // w, width // w, w, w, channels).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(n, height, width, channels)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


class Block(nn.Module):
    def __init__(self, width: int, mixer: nn.Module, ratio: int = 2) -> None:
        super().__init__()
        self.norm1, self.norm2, self.mixer = nn.LayerNorm(width), nn.LayerNorm(width), mixer
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transgan(nn.Module):
    """Tokens are pixels; a pixel shuffle of them doubles the size and quarters the width."""

    def __init__(self, width: int = 128, z: int = 64) -> None:
        super().__init__()
        self.seed = nn.Linear(z, 16 * width)
        widths = (width, width // 4)
        self.positions = nn.ParameterList(
            0.1 * torch.randn(1, (4 * 2**index) ** 2, one) for index, one in enumerate(widths)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(one, Attention(one, 4)) for _ in range(2))) for one in widths
        )
        self.rgb = nn.Conv2d(widths[-1], 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.seed(z).view(z.shape[0], 16, -1)
        size = 4
        for index, (position, blocks) in enumerate(zip(self.positions, self.blocks)):
            if index:
                n, _, channels = x.shape
                x = F.pixel_shuffle(x.permute(0, 2, 1).view(n, channels, size, size), 2)
                size *= 2
                x = x.flatten(2).permute(0, 2, 1)
            x = blocks(x + position)
        return torch.tanh(self.rgb(x.permute(0, 2, 1).view(x.shape[0], -1, size, size)))


class SelfModulated(nn.Module):
    """LayerNorm whose gain and bias come from the latent."""

    def __init__(self, width: int, z: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.gain, self.bias = nn.Linear(z, width), nn.Linear(z, width)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.norm(x) * (1 + self.gain(w)[:, None]) + self.bias(w)[:, None]


class Vitgan(nn.Module):
    """Embeddings of positions in, a patch of sines out of each token."""

    def __init__(self, width: int = 48, z: int = 32, grid: int = 4, patch: int = 4) -> None:
        super().__init__()
        self.grid, self.patch = grid, patch
        self.mapping = nn.Sequential(nn.Linear(z, width), nn.GELU(), nn.Linear(width, width))
        self.positions = nn.Parameter(torch.randn(1, grid * grid, width))
        self.norms = nn.ModuleList(SelfModulated(width, width) for _ in range(5))
        self.attentions = nn.ModuleList(nn.MultiheadAttention(width, 4, batch_first=True) for _ in range(2))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(2)
        )
        self.sine, self.pixels = nn.Linear(width, width), nn.Linear(width, 3 * patch * patch)

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z)
        x = self.positions.expand(z.shape[0], -1, -1)
        for index, (attention, mlp) in enumerate(zip(self.attentions, self.mlps)):
            y = self.norms[2 * index](x, w)
            x = x + attention(y, y, y, need_weights=False)[0]
            x = x + mlp(self.norms[2 * index + 1](x, w))
        x = self.pixels(torch.sin(self.sine(self.norms[-1](x, w))))
        x = x.view(-1, self.grid, self.grid, 3, self.patch, self.patch).permute(0, 3, 1, 4, 2, 5)
        return torch.tanh(x.reshape(-1, 3, self.grid * self.patch, self.grid * self.patch))


class Styleswin(nn.Module):
    """Windows, half of them shifted; each token adaptively normalized by the style."""

    def __init__(self, width: int = 32, z: int = 32) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(z, width), nn.LeakyReLU(0.2), nn.Linear(width, width))
        self.start = nn.Parameter(torch.randn(1, 8, 8, width))
        self.attend = nn.ModuleList(Windows(width, 2, 4, shifted=bool(i % 2)) for i in range(4))
        self.style = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(4))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(4)
        )
        self.norm, self.rgb = nn.InstanceNorm1d(width), nn.Linear(width, 3)

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z)
        x = self.start.expand(z.shape[0], -1, -1, -1)
        for index, (attend, style, mlp) in enumerate(zip(self.attend, self.style, self.mlps)):
            if index == 2:
                x = F.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear").permute(0, 2, 3, 1)
            n, height, width, channels = x.shape
            gain, bias = style(w).view(n, 1, 1, 2 * channels).chunk(2, -1)
            y = self.norm(x.view(n, -1, channels).transpose(1, 2)).transpose(1, 2)
            x = x + attend(y.reshape(n, height, width, channels) * (gain + 1) + bias)
            x = x + mlp(x)
        return torch.tanh(self.rgb(x).permute(0, 3, 1, 2))


class Ttsgan(nn.Module):
    """A transformer of time steps; a convolution of one tap gives the channels."""

    def __init__(self, width: int = 24, z: int = 32, length: int = 64) -> None:
        super().__init__()
        self.seed = nn.Linear(z, length * width)
        self.position = nn.Parameter(0.1 * torch.randn(1, length, width))
        self.length, self.width = length, width
        self.blocks = nn.Sequential(*(Block(width, Attention(width, 4), 4) for _ in range(2)))
        self.out = nn.Conv2d(width, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.blocks(self.seed(z).view(-1, self.length, self.width) + self.position)
        return self.out(x.reshape(x.shape[0], 1, x.shape[1], x.shape[2]).permute(0, 3, 1, 2))


class MaskGit(nn.Module):
    """A decoder-only transformer with RMS norms, rotary positions and gated MLPs, from codes to a picture."""

    def __init__(self, width: int = 32, z: int = 32, length: int = 16) -> None:
        super().__init__()
        self.seed, self.length = nn.Linear(z, length * width), length
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(4))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width, bias=False) for _ in range(2))
        self.proj = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(2))
        self.gates = nn.ModuleList(nn.Linear(width, 4 * width, bias=False) for _ in range(2))
        self.downs = nn.ModuleList(nn.Linear(2 * width, width, bias=False) for _ in range(2))
        self.pixels = nn.Linear(width, 48)
        angles = torch.outer(torch.arange(length), 100.0 ** (-torch.arange(0, 4) / 4))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def rotate(self, x: Tensor) -> Tensor:
        one, other = x[..., ::2], x[..., 1::2]
        return torch.stack(
            [one * self.cos - other * self.sin, one * self.sin + other * self.cos], -1
        ).flatten(-2)

    def forward(self, z: Tensor) -> Tensor:
        x = self.seed(z).unflatten(1, (self.length, -1))
        for index, (qkv, proj) in enumerate(zip(self.qkv, self.proj)):
            heads = qkv(self.norms[2 * index](x)).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
            query, key, value = heads.unbind(0)
            y = F.scaled_dot_product_attention(self.rotate(query), self.rotate(key), value)
            x = x + proj(y.transpose(1, 2).flatten(2))
            gate, up = self.gates[index](self.norms[2 * index + 1](x)).chunk(2, -1)
            x = x + self.downs[index](F.silu(gate) * up)
        size = math.isqrt(self.length)
        x = self.pixels(x).view(-1, size, size, 4, 4, 3)
        return torch.einsum("nhwpqc->nchpwq", x).reshape(-1, 3, 4 * size, 4 * size).tanh()


ARCHITECTURES = (
    Architecture("TransGAN", "Jiang 2021", Transgan, contract(latent(64), image(8))),
    Architecture("ViTGAN", "Lee 2022", Vitgan, contract(latent(32), image(16))),
    Architecture("StyleSwin", "Zhang 2022", Styleswin, contract(latent(32), image(16))),
    Architecture(
        "TTS-GAN", "Li 2022", Ttsgan, contract(latent(32), values(3, 1, 64, name="series", low=-4, high=4))
    ),
    Architecture("RMSNorm transformer", "", MaskGit, contract(latent(32), image(16))),
)
