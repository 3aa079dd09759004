"""Generators with a mapping network, or with the tricks of progressive growing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo_models.ports import Architecture, between, contract, image, latent


def fir(x: Tensor, kernel: Tensor, padding: tuple[int, int]) -> Tensor:
    """Filter each channel of x alone."""
    channels, size = x.shape[1], kernel.shape[0]
    x = F.pad(x, (*padding, *padding))
    return F.conv2d(x, kernel.view(1, 1, size, size).repeat(channels, 1, 1, 1), groups=channels)


class Blur(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", gain * torch.outer(taps, taps) / 64)

    def forward(self, x: Tensor) -> Tensor:
        return fir(x, self.kernel, (2, 1))


class PixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """A Linear with an equalized learning rate: the weight is scaled at run time."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.gain, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)


class EqualConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain, self.padding = 1 / math.sqrt(inputs * kernel**2), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.gain, self.bias, padding=self.padding)


def mapping(z: int, width: int, depth: int = 4) -> nn.Sequential:
    layers: list[nn.Module] = [PixelNorm()]
    for index in range(depth):
        layers += [EqualLinear(z if index == 0 else width, width, rate=0.5), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


class Progan(nn.Module):
    """Equalized learning rates and pixel norms; the last two resolutions are blended by a constant."""

    def __init__(self, width: int = 32, z: int = 32, alpha: float = 0.75) -> None:
        super().__init__()
        self.seed, self.alpha = EqualLinear(z, width * 16), alpha
        self.norm = PixelNorm()
        self.convs = nn.ModuleList(EqualConv(width, width, 3) for _ in range(7))
        self.rgb_before, self.rgb = EqualConv(width, 3, 1), EqualConv(width, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.norm(F.leaky_relu(self.seed(self.norm(z)).view(z.shape[0], -1, 4, 4), 0.2))
        x = self.norm(F.leaky_relu(self.convs[0](x), 0.2))
        before = x
        for first, second in zip(self.convs[1::2], self.convs[2::2]):
            before = x
            x = F.interpolate(x, scale_factor=2)
            x = self.norm(F.leaky_relu(first(x), 0.2))
            x = self.norm(F.leaky_relu(second(x), 0.2))
        old = F.interpolate(self.rgb_before(before), scale_factor=2)
        return (1 - self.alpha) * old + self.alpha * self.rgb(x)


class StyleLayer(nn.Module):
    """Convolution, blur, noise from a buffer, and adaptive instance norm."""

    def __init__(self, width: int, style: int, size: int, *, up: bool) -> None:
        super().__init__()
        self.conv, self.blur, self.up = EqualConv(width, width, 3), Blur(), up
        self.register_buffer("noise", torch.randn(1, 1, size, size))
        self.strength = nn.Parameter(torch.full((1, width, 1, 1), 0.1))
        self.norm = nn.InstanceNorm2d(width)
        self.style = EqualLinear(style, 2 * width)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = self.blur(self.conv(F.interpolate(x, scale_factor=2))) if self.up else self.conv(x)
        x = self.norm(F.leaky_relu(x + self.strength * self.noise, 0.2))
        style = self.style(w).view(-1, 2, x.shape[1], 1, 1)
        return x * (style[:, 0] + 1) + style[:, 1]


class Stylegan1(nn.Module):
    def __init__(self, width: int = 32, z: int = 32, truncation: float = 0.7) -> None:
        super().__init__()
        self.mapping = mapping(z, width)
        self.register_buffer("average", torch.randn(width) * 0.1)
        self.truncation = truncation
        self.start = nn.Parameter(torch.randn(1, width, 4, 4))
        plan = ((4, False), (8, True), (8, False), (16, True), (16, False))
        self.layers = nn.ModuleList(StyleLayer(width, width, size, up=up) for size, up in plan)
        self.rgb = EqualConv(width, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        w = torch.lerp(self.average, self.mapping(z), self.truncation)
        x = self.start.expand(z.shape[0], -1, -1, -1)
        for layer in self.layers:
            x = layer(x, w)
        return self.rgb(x)


class Modulated(nn.Module):
    """StyleGAN2's convolution, the batch in one grouped convolution, up-sampled by a transposed one."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, style: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.scale, self.padding = 1 / math.sqrt(inputs * kernel**2), kernel // 2
        self.style, self.demodulate, self.up = EqualLinear(style, inputs, bias=1.0), demodulate, up
        self.blur = Blur(4.0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, inputs, height, width = x.shape
        outputs, kernel = self.weight.shape[1], self.weight.shape[3]
        weight = self.scale * self.weight * self.style(w).view(n, 1, inputs, 1, 1)
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum([2, 3, 4]) + 1e-8).view(n, outputs, 1, 1, 1)
        x = x.reshape(1, n * inputs, height, width)
        if self.up:
            weight = weight.transpose(1, 2).reshape(n * inputs, outputs, kernel, kernel)
            x = F.conv_transpose2d(x, weight, padding=0, stride=2, groups=n)
            x = x.view(n, outputs, x.shape[2], x.shape[3])
            return fir(x, self.blur.kernel, (1, 1))
        x = F.conv2d(x, weight.view(n * outputs, inputs, kernel, kernel), padding=self.padding, groups=n)
        return x.view(n, outputs, height, width)


class Scaled(nn.Module):
    """The same in the form of MobileStyleGAN: channels are scaled before and after a static convolution."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, style: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.scale, self.padding = 1 / math.sqrt(inputs * kernel**2), kernel // 2
        self.style, self.demodulate, self.up = EqualLinear(style, inputs, bias=1.0), demodulate, up

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style, weight = self.style(w), self.scale * self.weight
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
        x = F.conv2d(x * style[:, :, None, None], weight, padding=self.padding)
        if self.demodulate:
            power = style.square() @ weight.square().sum([2, 3]).t()
            x = x * torch.rsqrt(power + 1e-8)[:, :, None, None]
        return x


class Styled(nn.Module):
    """A modulated convolution, noise from an input or a buffer, bias and activation."""

    def __init__(self, conv, width: int, style: int, size: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = conv(width, width, 3, style, up=up)
        self.register_buffer("noise", torch.randn(1, 1, size, size))
        self.strength = nn.Parameter(torch.tensor(0.1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None) -> Tensor:
        x = self.conv(x, w) + self.strength * (self.noise if noise is None else noise)
        return F.leaky_relu(x + self.bias, 0.2) * math.sqrt(2)


class Stylegan2(nn.Module):
    """Skips of RGB, each up-sampled by a filter."""

    def __init__(self, conv=Modulated, width: int = 32, z: int = 32) -> None:
        super().__init__()
        self.mapping = mapping(z, width)
        self.start = nn.Parameter(torch.randn(1, width, 4, 4))
        plan = ((4, False), (8, True), (8, False), (16, True), (16, False))
        self.layers = nn.ModuleList(Styled(conv, width, width, size, up=up) for size, up in plan)
        self.to_rgb = nn.ModuleList(conv(width, 3, 1, width, demodulate=False) for _ in range(3))
        self.blur = Blur()

    def forward(self, z: Tensor, psi: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        w = self.mapping(z)
        if psi is not None:
            w = psi[:, None] * w
        x = self.start.repeat(z.shape[0], 1, 1, 1)
        x = self.layers[0](x, w)
        rgb = self.to_rgb[0](x, w)
        for index, (up, flat) in enumerate(zip(self.layers[1::2], self.layers[2::2])):
            x = flat(up(x, w), w, noise if index == 1 else None)
            rgb = self.to_rgb[index + 1](x, w) + self.blur(F.interpolate(rgb, scale_factor=2))
        return rgb


class Stylegan3(nn.Module):
    """Fourier features in, activations between a filtered up-sampling and a filtered down-sampling."""

    def __init__(self, width: int = 32, z: int = 32, size: int = 16) -> None:
        super().__init__()
        self.mapping = mapping(z, width, depth=2)
        self.register_buffer("frequencies", torch.randn(width, 2))
        self.register_buffer("phases", torch.rand(width) - 0.5)
        self.affine = EqualLinear(width, 4)
        self.affine.bias.data.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.convs = nn.ModuleList(Scaled(width, width, 3, width) for _ in range(3))
        self.rgb = Scaled(width, 3, 1, width, demodulate=False)
        self.biases = nn.ParameterList(torch.zeros(width) for _ in range(3))
        self.blur, self.size = Blur(), size

    def fourier(self, w: Tensor) -> Tensor:
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        turn = torch.stack([torch.stack([t[:, 0], -t[:, 1]], 1), torch.stack([t[:, 1], t[:, 0]], 1)], 1)
        phases = self.phases + (self.frequencies @ t[:, 2:, None]).squeeze(2)
        line = torch.linspace(-0.5, 0.5, self.size)
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
        waves = torch.einsum("hwi,nci->nchw", grid, self.frequencies @ turn)
        return torch.sin(2 * math.pi * (waves + phases[:, :, None, None]))

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z)
        x = self.fourier(w)
        for conv, bias in zip(self.convs, self.biases):
            x = conv(x, w) + bias[:, None, None]
            x = self.blur(F.interpolate(x, scale_factor=2))
            x = F.leaky_relu(x, 0.2) * math.sqrt(2)
            x = self.blur(x)[:, :, ::2, ::2]
        return self.rgb(x, w)


class SkipExcite(nn.Module):
    """FastGAN's excitation of a large map by a small one."""

    def __init__(self, small: int, large: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(small, large, 4, bias=False),
            nn.SiLU(),
            nn.Conv2d(large, large, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        return large * self.main(small)


class Fastgan(nn.Module):
    def __init__(self, width: int = 32, z: int = 64) -> None:
        super().__init__()
        wrap = nn.utils.spectral_norm

        def up(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Upsample(scale_factor=2, mode="nearest"),
                wrap(nn.Conv2d(inputs, 2 * outputs, 3, 1, 1, bias=False)),
                nn.BatchNorm2d(2 * outputs),
                nn.GLU(1),
            )

        self.init = nn.Sequential(
            wrap(nn.ConvTranspose2d(z, 4 * width, 4, 1, 0, bias=False)), nn.BatchNorm2d(4 * width), nn.GLU(1)
        )
        self.up8, self.up16, self.up32 = up(2 * width, 2 * width), up(2 * width, width), up(width, width)
        self.excite = SkipExcite(2 * width, width)
        self.rgb = wrap(nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        x4 = self.init(z.view(z.shape[0], -1, 1, 1))
        x32 = self.up32(self.up16(self.up8(x4)))
        return torch.tanh(self.rgb(self.excite(x4, x32)))


class R3Block(nn.Module):
    """R3GAN: an inverted bottleneck around a grouped convolution, no norm."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.grouped = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=groups, bias=False)
        self.narrow = nn.Conv2d(2 * width, width, 1, bias=False)
        self.bias1, self.bias2 = nn.Parameter(torch.zeros(2 * width)), nn.Parameter(torch.zeros(2 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.wide(x) + self.bias1.view(1, -1, 1, 1), 0.2)
        y = F.leaky_relu(self.grouped(y) + self.bias2.view(1, -1, 1, 1), 0.2)
        return x + 0.3 * self.narrow(y)


class R3gan(nn.Module):
    def __init__(self, width: int = 32, z: int = 32) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(width, 4, 4))
        self.linear = nn.Linear(z, width, bias=False)
        self.blocks = nn.ModuleList(nn.Sequential(R3Block(width, 4), R3Block(width, 4)) for _ in range(3))
        self.rgb, self.blur = nn.Conv2d(width, 3, 1, bias=False), Blur()

    def forward(self, z: Tensor) -> Tensor:
        x = self.basis.view(1, -1, 4, 4) * self.linear(z).view(z.shape[0], -1, 1, 1)
        for index, block in enumerate(self.blocks):
            if index:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(x)
        return self.rgb(x)


NOISE = between(-2.0, 2.0, 1, 16, 16, name="noise")

ARCHITECTURES = (
    Architecture("ProGAN", "Karras 2018", Progan, contract(latent(32), image(32, reach=3))),
    Architecture("StyleGAN", "Karras 2019", Stylegan1, contract(latent(32), image(16, reach=3))),
    Architecture("StyleGAN2", "Karras 2020", Stylegan2, contract(latent(32), image(16, reach=6))),
    Architecture(
        "StyleGAN2, truncation and noise as inputs",
        "Karras 2020",
        Stylegan2,
        contract(latent(32), between(0.5, 1.0, name="psi"), NOISE, image(16, reach=6)),
    ),
    Architecture(
        "MobileStyleGAN", "Belousov 2021", lambda: Stylegan2(Scaled), contract(latent(32), image(16, reach=6))
    ),
    Architecture("StyleGAN3", "Karras 2021", Stylegan3, contract(latent(32), image(16, reach=4))),
    Architecture("FastGAN", "Liu 2021", Fastgan, contract(latent(64), image())),
    Architecture("R3GAN", "Huang 2024", R3gan, contract(latent(32), image(16, reach=3))),
)
