"""Small generators after the public designs, with random weights and the statistics of trained ones.

Batch norms have measured their means and variances; channels differ in size by a factor of several, and a few
never fire. `SEEN` were looked at while INT8 was improved, `KEPT_ASIDE` were not.
"""

from __future__ import annotations

import wave
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

MELS, FRAMES = 80, 32
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)


def dcgan(width: int, size: int, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """A DCGAN whose norms follow the activations."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(64, 4 * width, 4), act(), nn.BatchNorm2d(4 * width)]
    widths = [4 * width, 2 * width, width, width][: size.bit_length() - 3]
    for i, o in zip(widths, [*widths[1:], 0]):
        last = o == 0
        layers.append(nn.ConvTranspose2d(i, 3 if last else o, 4, 2, 1))
        layers += [nn.Tanh()] if last else [act(), nn.BatchNorm2d(o)]
    return nn.Sequential(nn.Unflatten(1, (64, 1, 1)), *layers)


class Vocoder(nn.Module):
    """After HiFi-GAN: transposed convolutions, and residual blocks of several receptive fields."""

    def __init__(self, width: int, rates: tuple[int, ...] = (8, 8), kernels: tuple[int, ...] = (3, 5, 7)):
        super().__init__()
        self.pre = weight_norm(nn.Conv1d(MELS, width, 7, padding=3))
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for rate in rates:
            self.ups.append(weight_norm(nn.ConvTranspose1d(width, width // 2, 2 * rate, rate, rate // 2)))
            width //= 2
            self.blocks.append(
                nn.ModuleList(
                    nn.ModuleList(
                        weight_norm(nn.Conv1d(width, width, k, padding=(k - 1) // 2 * d, dilation=d))
                        for d in (1, 3)
                    )
                    for k in kernels
                )
            )
        self.post = weight_norm(nn.Conv1d(width, 1, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.pre(mel)
        for up, blocks in zip(self.ups, self.blocks):
            x = up(F.leaky_relu(x, 0.1))
            total = torch.zeros_like(x)
            for block in blocks:  # pyright: ignore[reportGeneralTypeIssues]
                y = x
                for conv in block:
                    y = y + conv(F.leaky_relu(y, 0.1))
                total = total + y
            x = total / len(blocks)  # pyright: ignore[reportArgumentType]
        return torch.tanh(self.post(F.leaky_relu(x)))


class MelGan(nn.Module):
    """After MelGAN: reflection padding, dilated residual blocks with shortcuts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad1d(3), nn.Conv1d(MELS, width, 7)]
        for rate in (8, 8):
            layers += [nn.LeakyReLU(0.2), nn.ConvTranspose1d(width, width // 2, 2 * rate, rate, rate // 2)]
            width //= 2
            layers += [_MelBlock(width, 3**j) for j in range(3)]
        self.model = nn.Sequential(
            *layers, nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), nn.Conv1d(width, 1, 7), nn.Tanh()
        )

    def forward(self, mel: Tensor) -> Tensor:
        return self.model(mel)


class _MelBlock(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(0.2), nn.ReflectionPad1d(dilation), nn.Conv1d(width, width, 3, dilation=dilation),
            nn.LeakyReLU(0.2), nn.Conv1d(width, width, 1),
        )  # fmt: skip
        self.shortcut = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _conv(i: int, o: int, k: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.ReflectionPad2d(k // 2), nn.Conv2d(i, o, k, stride)]


def style(width: int, blocks: int, *, transposed: bool = False) -> nn.Sequential:
    """A ResNet generator with instance norms, as of CycleGAN or of fast neural style."""

    def norm(channels: int) -> nn.Module:
        return nn.InstanceNorm2d(channels, affine=True)

    w = width
    layers: list[nn.Module] = [*_conv(3, w, 7), norm(w), nn.ReLU()]
    for i in (w, 2 * w):
        layers += [*_conv(i, 2 * i, 3, 2), norm(2 * i), nn.ReLU()]
    for _ in range(blocks):
        body = [*_conv(4 * w, 4 * w), norm(4 * w), nn.ReLU(), *_conv(4 * w, 4 * w), norm(4 * w)]
        layers.append(Residual(nn.Sequential(*body)))
    for i, o in ((4 * w, 2 * w), (2 * w, w)):
        nearest = [nn.Upsample(scale_factor=2), *_conv(i, o)]
        layers += [nn.ConvTranspose2d(i, o, 3, 2, 1, 1)] if transposed else nearest
        layers += [norm(o), nn.ReLU()]
    return nn.Sequential(*layers, *_conv(w, 3, 7), nn.Tanh())


class UNet(nn.Module):
    """After pix2pix: stride-2 convolutions down, transposed ones up, skips between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        ws = [width, 2 * width, 4 * width, 4 * width]
        self.down = nn.ModuleList(
            nn.Sequential(*([] if i == 0 else [nn.LeakyReLU(0.2)]), nn.Conv2d(a, b, 4, 2, 1),
                          *([] if i in (0, 3) else [nn.BatchNorm2d(b)]))
            for i, (a, b) in enumerate(zip([3, *ws], ws))
        )  # fmt: skip
        self.up = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b))
            for a, b in ((ws[3], ws[2]), (2 * ws[2], ws[1]), (2 * ws[1], ws[0]))
        )
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * ws[0], 3, 4, 2, 1), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        skips, x = [], image
        for down in self.down:
            x = down(x)
            skips.append(x)
        for up, skip in zip(self.up, reversed(skips[:-1])):
            x = torch.cat([up(x), skip], 1)
        return self.last(x)


class Spade(nn.Module):
    """After SPADE: norms whose scale and shift are convolutions of a map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seed = nn.Conv2d(3, width, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for _ in range(3))
        self.shared = nn.ModuleList(nn.Conv2d(3, 32, 3, padding=1) for _ in range(3))
        self.gains = nn.ModuleList(nn.Conv2d(32, 2 * width, 3, padding=1) for _ in range(3))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.seed(F.avg_pool2d(image, 8))
        stages = zip(self.convs, self.norms, self.shared, self.gains)
        for level, (conv, norm, shared, gains) in enumerate(stages):
            x = F.interpolate(x, scale_factor=2.0)
            small = F.avg_pool2d(image, 4 >> level) if level < 2 else image
            gain, shift = gains(F.relu(shared(small))).chunk(2, 1)
            x = conv(F.leaky_relu(norm(x) * (1 + gain) + shift, 0.2))
        return torch.tanh(self.last(F.leaky_relu(x, 0.2)))


class Attention(nn.Module):
    """After SAGAN: a self-attention between up-sampling blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seed = nn.Linear(64, 16 * 2 * width)
        self.up = nn.ModuleList(nn.Conv2d(i, width, 3, padding=1) for i in (2 * width, width, width))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3))
        self.query, self.key = (nn.Conv2d(width, width // 8, 1) for _ in range(2))
        self.value, self.gamma = nn.Conv2d(width, width, 1), nn.Parameter(torch.tensor(0.5))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.seed(z).unflatten(1, (-1, 4, 4))
        for level, (conv, norm) in enumerate(zip(self.up, self.norms)):
            x = F.relu(norm(conv(F.interpolate(x, scale_factor=2.0))))
            if level == 1:
                q, k, v = (part(x).flatten(2) for part in (self.query, self.key, self.value))
                attention = (q.transpose(1, 2) @ k).softmax(-1)
                x = x + self.gamma * (v @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        return torch.tanh(self.last(x))


class Cartoon(nn.Module):
    """After AnimeGAN: inverted residuals with depthwise convolutions and group norms."""

    def __init__(self, width: int, blocks: int = 3) -> None:
        super().__init__()

        def block(i: int, o: int, k: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
            return [nn.ReflectionPad2d(k // 2), nn.Conv2d(i, o, k, stride, groups=groups, bias=False),
                    nn.GroupNorm(1, o), nn.LeakyReLU(0.2)]  # fmt: skip

        w = width
        body: list[nn.Module] = [*block(3, w, 7), *block(w, 2 * w, 3, 2)]
        for _ in range(blocks):
            wide = 4 * w
            inner = [*block(2 * w, wide, 1), *block(wide, wide, 3, groups=wide)]
            inner += [nn.Conv2d(wide, 2 * w, 1), nn.GroupNorm(1, 2 * w)]
            body.append(Residual(nn.Sequential(*inner)))
        body += [nn.Upsample(scale_factor=2, mode="bilinear"), *block(2 * w, w)]
        body += [nn.Conv2d(w, 3, 1), nn.Tanh()]
        self.body = nn.Sequential(*body)

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image)


class Dense(nn.Module):
    """After ESRGAN: densely connected convolutions, scaled residuals, twice the size."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(width + j * growth, width if j == 4 else growth, 3, padding=1) for j in range(5)
            )
            for _ in range(2)
        )
        self.trunk = nn.Conv2d(width, width, 3, padding=1)
        self.up, self.last = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = first = self.first(image)
        for block in self.blocks:
            parts, y = [x], x
            for j, conv in enumerate(block):  # pyright: ignore[reportArgumentType]
                y = conv(torch.cat(parts, 1))
                if j < 4:
                    parts.append(F.leaky_relu(y, 0.2))
            x = x + 0.2 * y
        x = first + self.trunk(x)
        x = F.leaky_relu(self.up(F.interpolate(x, scale_factor=2.0)), 0.2)
        return torch.tanh(self.last(x))


class Glu(nn.Module):
    """After FastGAN: gated linear units, and an excitation from a low resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seed, self.norm = nn.ConvTranspose2d(64, 4 * width, 4), nn.BatchNorm2d(4 * width)
        convs = (nn.Conv2d(2 * width, 4 * width, 3, padding=1, bias=False) for _ in range(3))
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 * width) for _ in range(3))
        squeeze = [nn.Conv2d(2 * width, width, 4), nn.SiLU(), nn.Conv2d(width, 2 * width, 1), nn.Sigmoid()]
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(4), *squeeze)
        self.last = nn.Conv2d(2 * width, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = F.glu(self.norm(self.seed(z[:, :, None, None])), 1)
        low = x
        for conv, norm in zip(self.convs, self.norms):
            x = F.glu(norm(conv(F.interpolate(x, scale_factor=2.0))), 1)
        return torch.tanh(self.last(x * self.squeeze(low)))


def lived_in(module: nn.Module, inputs: Tensor, seed: int = 0) -> nn.Module:
    """Give `module` the statistics of a trained network; return it, in eval mode.

    Weights of each channel differ in size, one in eight ReLU channels before a norm hardly fires, norms have
    gains of their own, running statistics are those of `inputs`, and outputs fill half of tanh's range.
    """
    generator = torch.Generator().manual_seed(seed)

    def random(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    layers = [m for m in module.modules() if isinstance(m, (*TRANSPOSED, nn.Conv1d, nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        for layer in layers:
            transposed = isinstance(layer, TRANSPOSED)
            weight = layer.weight
            fan = weight[0].numel() if not transposed else weight[:, 0].numel() / np.prod(layer.stride)
            size = weight.shape[1 if transposed else 0]
            shape = [1] * weight.dim()
            shape[1 if transposed else 0] = size
            sizes = (1.6 / fan) ** 0.5 * (0.4 * random(size)).exp().view(shape)
            _set_weight(layer, random(*weight.shape) * sizes)
            if layer.bias is not None:
                layer.bias.copy_(0.1 * random(size))
        for norm in module.modules():
            if isinstance(norm, NORMS) and norm.weight is not None:
                norm.weight.copy_((0.3 * random(len(norm.weight))).exp())
                norm.bias.copy_(0.3 * random(len(norm.bias)))
        _quiet_channels(module, inputs)
        norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None
        module.train()
        for part in inputs.split(32):
            module(part)
        module.eval()
        last = layers[-1]
        _set_weight(last, last.weight * (0.6 / _given(module, last, inputs).std()))
        if last.bias is not None:
            last.bias.zero_()
    return module


def _set_weight(layer: nn.Module, weight: Tensor) -> None:
    """Set a weight, a normalized one through its parametrization."""
    if nn.utils.parametrize.is_parametrized(layer):
        layer.weight = weight
    else:
        layer.weight.copy_(weight)  # pyright: ignore[reportCallIssue]


def _quiet_channels(module: nn.Module, inputs: Tensor) -> None:
    """Push one channel in eight below zero, to 3.5 deviations, where a ReLU and then a norm follow."""
    children = list(module.children())
    for conv, act, norm in zip(children, children[1:], children[2:]):
        if isinstance(act, (nn.ReLU, nn.LeakyReLU)) and isinstance(norm, nn.BatchNorm2d):
            values = _given(module.train(), conv, inputs).transpose(0, 1).flatten(1)[::8]
            conv.bias[::8] += -values.mean(1) - 3.5 * values.std(1)  # pyright: ignore


def _given(module: nn.Module, layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return what `layer` gives on some inputs of `module`."""
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: seen.append(output.detach()))
    module(inputs[:32])
    handle.remove()
    return seen[0]


def noise(data: Path, count: int) -> NDArray[np.float32]:
    """Return normal latents."""
    return np.random.default_rng(7).standard_normal((count, 64)).astype(np.float32)


def photos(data: Path, count: int, size: int = 64) -> NDArray[np.float32]:
    """Return photographs (count, 3, size, size) in -1..1."""
    with zipfile.ZipFile(data / "images" / "tiny-imagenet-64.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))
        names = [names[i] for i in np.random.default_rng(7).permutation(len(names))[:count]]
        rows = [Image.open(BytesIO(archive.read(name))).convert("RGB").resize((size, size)) for name in names]
    return (np.stack([np.asarray(row) for row in rows]).transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32)


def mels(data: Path, count: int) -> NDArray[np.float32]:
    """Return windows (count, 80, 32) of `speech`."""
    whole = speech(data)
    starts = np.random.default_rng(7).permutation(whole.shape[1] - FRAMES)[:count]
    return np.stack([whole[:, start : start + FRAMES] for start in starts])


def speech(data: Path) -> NDArray[np.float32]:
    """Return the log mel spectrogram (80, T) of the speech clips one after another, as HiFi-GAN takes it."""
    spectra = []
    for path in sorted((data / "audio").glob("*.wav")):
        with wave.open(str(path)) as file:
            rate = file.getframerate()
            sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
        frames = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::256] * np.hanning(1024)
        spectra.append(np.log(np.maximum(_filters(rate) @ np.abs(np.fft.rfft(frames)).T, 1e-5)))
    return np.concatenate(spectra, axis=1).astype(np.float32)


def _filters(rate: int) -> NDArray[np.float64]:
    def mel(hertz: Any) -> Any:
        return 2595 * np.log10(1 + hertz / 700)

    edges = 700 * (10 ** (np.linspace(0, mel(8000), MELS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(1024, 1 / rate)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    return triangles * 2 / (high - low)


Net = tuple[Callable[[], nn.Module], Callable[[Path, int], NDArray[np.float32]]]
SEEN: dict[str, Net] = {
    "DCGAN, norm after ReLU, 32 px": (lambda: dcgan(24, 32), noise),
    "HiFi-GAN, width 64": (lambda: Vocoder(64), mels),
    "ResNet, 9 instance norms": (lambda: style(16, 2), photos),
    "U-Net": (lambda: UNet(24), photos),
    "SPADE": (lambda: Spade(32), photos),
    "self-attention": (lambda: Attention(48), noise),
}
KEPT_ASIDE: dict[str, Net] = {
    "DCGAN, norm after leaky ReLU, 64 px": (lambda: dcgan(32, 64, lambda: nn.LeakyReLU(0.1)), noise),
    "MelGAN, width 64": (lambda: MelGan(64), mels),
    "ResNet, 13 instance norms, transposed": (lambda: style(12, 4, transposed=True), photos),
    "depthwise cartoon": (lambda: Cartoon(24), photos),
    "dense residual, twice the size": (lambda: Dense(24, 12), photos),
    "gated units and excitation": (lambda: Glu(16), noise),
}
