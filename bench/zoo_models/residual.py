"""Residual generators of ImageNet's kind: SNGAN, SAGAN, BigGAN."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm
from zoo_models.ports import Architecture, contract, image, label, latent


class ClassNorm(nn.Module):
    """BatchNorm whose gain and bias are embeddings of the label."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.embed = nn.Embedding(classes, 2 * channels)
        nn.init.normal_(self.embed.weight, 0.0, 0.3)
        self.embed.weight.data[:, :channels] += 1

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        gain, bias = self.embed(label).chunk(2, 1)
        return gain[:, :, None, None] * self.norm(x) + bias[:, :, None, None]


class LatentNorm(nn.Module):
    """BatchNorm whose gain and bias are linear in a vector."""

    def __init__(self, channels: int, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = parametrizations.spectral_norm(nn.Linear(inputs, channels, bias=False))
        self.bias = parametrizations.spectral_norm(nn.Linear(inputs, channels, bias=False))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        gain, bias = 1 + self.gain(y), self.bias(y)
        return self.norm(x) * gain.view(gain.size(0), -1, 1, 1) + bias.view(bias.size(0), -1, 1, 1)


class Plain(nn.BatchNorm2d):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x)


class Up(nn.Module):
    """Two convolutions behind their norms, and up-sampling, beside a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, norm, wrap) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = wrap(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = wrap(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = wrap(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = F.interpolate(F.relu(self.norm1(x, y)), scale_factor=2)
        h = self.conv2(F.relu(self.norm2(self.conv1(h), y)))
        return h + self.skip(F.interpolate(x, scale_factor=2))


class Attention(nn.Module):
    """Self-attention of pixels, with keys and values pooled."""

    def __init__(self, channels: int, wrap) -> None:
        super().__init__()
        self.query = wrap(nn.Conv2d(channels, channels // 8, 1, bias=False))
        self.key = wrap(nn.Conv2d(channels, channels // 8, 1, bias=False))
        self.value = wrap(nn.Conv2d(channels, channels // 2, 1, bias=False))
        self.out = wrap(nn.Conv2d(channels // 2, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        query = self.query(x).view(n, c // 8, h * w)
        key = F.max_pool2d(self.key(x), 2).view(n, c // 8, h * w // 4)
        value = F.max_pool2d(self.value(x), 2).view(n, c // 2, h * w // 4)
        weights = F.softmax(torch.bmm(query.transpose(1, 2), key), -1)
        mixed = torch.bmm(value, weights.transpose(1, 2)).view(n, c // 2, h, w)
        return self.gamma * self.out(mixed) + x


class Sngan(nn.Module):
    def __init__(self, width: int = 32, z: int = 64, wrap=spectral_norm) -> None:
        super().__init__()
        self.width = width
        self.seed = wrap(nn.Linear(z, width * 16))
        self.blocks = nn.ModuleList(Up(width, width, Plain, wrap) for _ in range(3))
        self.norm = nn.BatchNorm2d(width)
        self.rgb = wrap(nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        x = self.seed(z).view(-1, self.width, 4, 4)
        for block in self.blocks:
            x = block(x, z)
        return torch.tanh(self.rgb(F.relu(self.norm(x))))


class Sagan(nn.Module):
    """Conditional norms, hooks of spectral norm, attention before the last block."""

    def __init__(self, width: int = 32, z: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.seed = spectral_norm(nn.Linear(z, 2 * width * 16))
        sizes = (2 * width, 2 * width, width, width)

        def norm(channels: int) -> nn.Module:
            return ClassNorm(channels, classes)

        self.blocks = nn.ModuleList(Up(i, o, norm, spectral_norm) for i, o in itertools.pairwise(sizes))
        self.attention = Attention(width, spectral_norm)
        self.norm = nn.BatchNorm2d(width)
        self.rgb = spectral_norm(nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        x = self.seed(z).unflatten(1, (-1, 4, 4))
        x = self.blocks[1](self.blocks[0](x, label), label)
        x = self.blocks[2](self.attention(x), label)
        return torch.tanh(self.rgb(F.relu(self.norm(x))))


class Biggan(nn.Module):
    """The latent in pieces, one for each block, beside a shared embedding."""

    def __init__(self, width: int = 32, part: int = 16, classes: int = 10, shared: int = 16) -> None:
        super().__init__()
        wrap = parametrizations.spectral_norm
        self.part, self.bottom = part, 4
        self.shared = nn.Embedding(classes, shared)
        self.linear = wrap(nn.Linear(part, 4 * width * 16))
        sizes = (4 * width, 2 * width, 2 * width, width)

        def norm(channels: int) -> nn.Module:
            return LatentNorm(channels, shared + part)

        self.blocks = nn.ModuleList(Up(i, o, norm, wrap) for i, o in itertools.pairwise(sizes))
        self.attention = Attention(2 * width, wrap)
        self.output = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(inplace=True), wrap(nn.Conv2d(width, 3, 3, padding=1))
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        first, *others = torch.split(z, self.part, 1)
        embedded = self.shared(label)
        x = self.linear(first).view(first.size(0), -1, self.bottom, self.bottom)
        for index, (block, part) in enumerate(zip(self.blocks, others)):
            x = block(x, torch.cat([embedded, part], 1))
            if index == 1:
                x = self.attention(x)
        return torch.tanh(self.output(x))


class Deep(nn.Module):
    """BigGAN-deep's bottleneck: the skip drops channels in place of convolving."""

    def __init__(self, inputs: int, outputs: int, y: int, *, up: bool) -> None:
        super().__init__()
        wrap, hidden = parametrizations.spectral_norm, inputs // 2
        self.outputs, self.up = outputs, up
        self.norms = nn.ModuleList(LatentNorm(c, y) for c in (inputs, hidden, hidden, hidden))
        self.convs = nn.ModuleList(
            wrap(nn.Conv2d(i, o, k, padding=k // 2))
            for i, o, k in (
                (inputs, hidden, 1),
                (hidden, hidden, 3),
                (hidden, hidden, 3),
                (hidden, outputs, 1),
            )
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = x
        for index, (norm, conv) in enumerate(zip(self.norms, self.convs)):
            h = F.relu(norm(h, y))
            if index == 1 and self.up:
                h = F.interpolate(h, scale_factor=2)
            h = conv(h)
        x = x[:, : self.outputs]
        return h + (F.interpolate(x, scale_factor=2) if self.up else x)


class BigganDeep(nn.Module):
    def __init__(self, width: int = 32, z: int = 32, classes: int = 10, shared: int = 16) -> None:
        super().__init__()
        self.shared = nn.Embedding(classes, shared)
        self.linear = nn.Linear(z + shared, 2 * width * 16)
        plan = ((2, 2, False), (2, 2, True), (2, 1, True), (1, 1, True))
        self.blocks = nn.ModuleList(Deep(i * width, o * width, z + shared, up=up) for i, o, up in plan)
        self.norm, self.rgb = nn.BatchNorm2d(width), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        y = torch.cat([z, self.shared(label)], 1)
        x = self.linear(y).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            x = block(x, y)
        return torch.tanh(self.rgb(F.relu(self.norm(x))))


ARCHITECTURES = (
    Architecture("SNGAN", "Miyato 2018", Sngan, contract(latent(64), image())),
    Architecture("SAGAN", "Zhang 2019", Sagan, contract(latent(64), label(), image())),
    Architecture("BigGAN", "Brock 2019", Biggan, contract(latent(64), label(), image())),
    Architecture("BigGAN-deep", "Brock 2019", BigganDeep, contract(latent(32), label(), image())),
)
