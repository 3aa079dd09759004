"""Vocoders: a mel spectrogram in, a waveform out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, weight_norm
from zoo_models.ports import Architecture, between, contract, latent, values

MELS, FRAMES = 20, 32


class HifiBlock(nn.Module):
    """HiFi-GAN's residual block: pairs of dilated convolutions (V1) or single ones (V3)."""

    def __init__(self, width: int, kernel: int, rates: tuple[int, ...], *, pairs: bool, act=None) -> None:
        super().__init__()
        self.pairs = pairs
        self.convs1 = nn.ModuleList(
            weight_norm(nn.Conv1d(width, width, kernel, padding=(kernel - 1) * d // 2, dilation=d))
            for d in rates
        )
        if pairs:
            self.convs2 = nn.ModuleList(
                weight_norm(nn.Conv1d(width, width, kernel, padding=kernel // 2)) for _ in rates
            )
        self.acts = nn.ModuleList((act or (lambda _: nn.LeakyReLU(0.1)))(width) for _ in rates)

    def forward(self, x: Tensor) -> Tensor:
        for index, conv in enumerate(self.convs1):
            y = conv(self.acts[index](x))
            x = x + (self.convs2[index](F.leaky_relu(y, 0.1)) if self.pairs else y)
        return x


class Hifigan(nn.Module):
    """Each up-sampling is followed by blocks of several kernels, whose mean is taken."""

    def __init__(self, width: int = 32, *, pairs: bool = True, act=None) -> None:
        super().__init__()
        self.pre = weight_norm(nn.Conv1d(MELS, width, 7, 1, 3))
        plan = ((8, 16), (4, 8))
        self.ups = nn.ModuleList(
            weight_norm(nn.ConvTranspose1d(width // 2**i, width // 2 ** (i + 1), k, u, (k - u) // 2))
            for i, (u, k) in enumerate(plan)
        )
        self.blocks = nn.ModuleList(
            HifiBlock(width // 2 ** (i + 1), kernel, (1, 3), pairs=pairs, act=act)
            for i in range(2)
            for kernel in (3, 5)
        )
        self.post = weight_norm(nn.Conv1d(width // 4, 1, 7, 1, 3))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.pre(mel)
        for index, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            x = (self.blocks[2 * index](x) + self.blocks[2 * index + 1](x)) / 2
        return torch.tanh(self.post(F.leaky_relu(x)))


class Snake(nn.Module):
    """BigVGAN's periodic activation x + sin(ax)^2 / b, between a filtered up- and down-sampling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        window = torch.kaiser_window(12, periodic=False, beta=4.0)
        time = torch.arange(-6, 6) + 0.5
        taps = window * torch.sinc(0.5 * time)
        self.register_buffer("filter", (taps / taps.sum()).view(1, 1, 12))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.filter.expand(channels, -1, -1)
        x = 2 * F.conv_transpose1d(F.pad(x, (5, 5), mode="replicate"), kernel, stride=2, groups=channels)
        x = x[..., 15:-15]
        alpha, beta = self.alpha.exp()[None, :, None], self.beta.exp()[None, :, None]
        x = x + (1.0 / (beta + 1e-9)) * torch.pow(torch.sin(x * alpha), 2)
        return F.conv1d(F.pad(x, (5, 6), mode="replicate"), kernel, stride=2, groups=channels)


class MelBlock(nn.Module):
    """MelGAN's residual: a dilated convolution behind a reflected border, beside a 1x1 one."""

    def __init__(self, width: int, rate: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.ReflectionPad1d(rate),
            weight_norm(nn.Conv1d(width, width, 3, dilation=rate)),
            nn.LeakyReLU(0.2),
            weight_norm(nn.Conv1d(width, width, 1)),
        )
        self.skip = weight_norm(nn.Conv1d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.block(x)


def melgan(width: int = 32) -> nn.Sequential:
    layers: list[nn.Module] = [nn.ReflectionPad1d(3), weight_norm(nn.Conv1d(MELS, width, 7))]
    for inputs, outputs in ((width, width // 2), (width // 2, width // 4)):
        layers += [nn.LeakyReLU(0.2), weight_norm(nn.ConvTranspose1d(inputs, outputs, 8, 4, 2))]
        layers += [MelBlock(outputs, rate) for rate in (1, 3)]
    return nn.Sequential(
        *layers, nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), weight_norm(nn.Conv1d(width // 4, 1, 7)), nn.Tanh()
    )


class ParallelWavegan(nn.Module):
    """WaveNet without causality: noise in, gated by the up-sampled spectrogram; skips are summed."""

    def __init__(self, width: int = 16, gates: int = 32, layers: int = 4, factor: int = 16) -> None:
        super().__init__()
        wrap = parametrizations.weight_norm
        self.factor = factor
        self.smooth = nn.Conv2d(1, 1, (1, 2 * factor + 1), padding=(0, factor), bias=False)
        self.first = wrap(nn.Conv1d(1, width, 1))
        self.dilated = nn.ModuleList(
            wrap(nn.Conv1d(width, gates, 3, padding=2**i, dilation=2**i)) for i in range(layers)
        )
        self.aux = nn.ModuleList(wrap(nn.Conv1d(MELS, gates, 1, bias=False)) for _ in range(layers))
        self.out = nn.ModuleList(wrap(nn.Conv1d(gates // 2, width, 1)) for _ in range(layers))
        self.skip = nn.ModuleList(wrap(nn.Conv1d(gates // 2, width, 1)) for _ in range(layers))
        self.last = nn.Sequential(
            nn.ReLU(), wrap(nn.Conv1d(width, width, 1)), nn.ReLU(), wrap(nn.Conv1d(width, 1, 1))
        )

    def forward(self, noise: Tensor, mel: Tensor) -> Tensor:
        wide = F.interpolate(mel.unsqueeze(1), scale_factor=(1, self.factor), mode="nearest")
        condition = self.smooth(wide).squeeze(1)
        x, skips = self.first(noise), 0.0
        for dilated, aux, out, skip in zip(self.dilated, self.aux, self.out, self.skip):
            a, b = (dilated(x) + aux(condition)).chunk(2, 1)
            y = torch.tanh(a) * torch.sigmoid(b)
            skips = skips + skip(y)
            x = (x + out(y)) * math.sqrt(0.5)
        return self.last(skips * math.sqrt(1 / len(self.skip)))


class ConvNext(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.wide, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).transpose(1, 2))
        return x + (self.gamma * self.narrow(F.gelu(self.wide(y)))).transpose(1, 2)


class Vocos(nn.Module):
    """ConvNeXt blocks give magnitudes and phases, whose inverse Fourier transforms overlap and add."""

    def __init__(self, width: int = 32, size: int = 64, hop: int = 16, blocks: int = 2) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.embed, self.norm = nn.Conv1d(MELS, width, 7, padding=3), nn.LayerNorm(width, eps=1e-6)
        self.blocks = nn.ModuleList(ConvNext(width) for _ in range(blocks))
        self.final, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, size + 2)
        self.register_buffer("window", torch.hann_window(size))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.norm(self.embed(mel).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        x = self.head(self.final(x.transpose(1, 2))).transpose(1, 2)
        magnitude, phase = x.chunk(2, 1)
        magnitude = torch.clip(torch.exp(magnitude), max=1e2)
        spectrum = magnitude * (torch.cos(phase) + 1j * torch.sin(phase))
        return self.inverse(spectrum).unsqueeze(1)

    def inverse(self, spectrum: Tensor) -> Tensor:
        frames, pad = spectrum.shape[2], (self.size - self.hop) // 2
        length = (frames - 1) * self.hop + self.size
        windowed = torch.fft.irfft(spectrum, self.size, dim=1, norm="backward") * self.window[None, :, None]
        shape = {"output_size": (1, length), "kernel_size": (1, self.size), "stride": (1, self.hop)}
        wave = F.fold(windowed, **shape)[:, 0, 0, pad:-pad]
        squared = self.window.square().expand(1, frames, -1).transpose(1, 2)
        envelope = F.fold(squared, **shape).squeeze()[pad:-pad]
        return wave / envelope


MEL = between(-4.0, 1.0, MELS, FRAMES, name="mel")

ARCHITECTURES = (
    Architecture("HiFi-GAN V1", "Kong 2020", Hifigan, contract(MEL, values(1, 1024, name="wave"))),
    Architecture(
        "HiFi-GAN V3", "Kong 2020", lambda: Hifigan(pairs=False), contract(MEL, values(1, 1024, name="wave"))
    ),
    Architecture(
        "BigVGAN", "Lee 2023", lambda: Hifigan(act=Snake), contract(MEL, values(1, 1024, name="wave"))
    ),
    Architecture("MelGAN", "Kumar 2019", melgan, contract(MEL, values(1, 512, name="wave"))),
    Architecture(
        "Parallel WaveGAN",
        "Yamamoto 2020",
        ParallelWavegan,
        contract(latent(1, 512, name="noise"), MEL, values(1, 512, name="wave", low=-4, high=4)),
    ),
    Architecture("Vocos", "Siuzdak 2024", Vocos, contract(MEL, values(1, 512, name="wave", low=-4, high=4))),
)
