"""Generators that turn pictures into pictures."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo_models.ports import Architecture, between, contract, image, latent, picture, values


class UnetBlock(nn.Module):
    """pix2pix's U-Net, one level around the next; the activations write over their input."""

    def __init__(self, outer: int, inner: int, inside: nn.Module | None, *, outermost: bool = False) -> None:
        super().__init__()
        down = nn.Conv2d(3 if outermost else outer, inner, 4, 2, 1, bias=False)
        up = nn.ConvTranspose2d(2 * inner if inside else inner, outer, 4, 2, 1, bias=outermost)
        self.outermost = outermost
        if outermost:
            layers = [down, inside, nn.ReLU(True), up, nn.Tanh()]
        elif inside is None:
            layers = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, nn.BatchNorm2d(outer)]
        else:
            layers = [nn.LeakyReLU(0.2, True), down, nn.BatchNorm2d(inner), inside, nn.ReLU(True), up]
            layers += [nn.BatchNorm2d(outer), nn.Dropout(0.5)]
        self.model = nn.Sequential(*(layer for layer in layers if layer))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


def unet(width: int = 16) -> nn.Module:
    block: nn.Module | None = UnetBlock(4 * width, 4 * width, None)
    block = UnetBlock(2 * width, 4 * width, block)
    block = UnetBlock(width, 2 * width, block)
    return UnetBlock(3, width, block, outermost=True)


class ResnetBlock(nn.Module):
    def __init__(self, width: int, norm=nn.InstanceNorm2d) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            norm(width),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            norm(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


def resnet(width: int = 16, blocks: int = 3, norm=nn.InstanceNorm2d) -> nn.Sequential:
    return nn.Sequential(
        nn.ReflectionPad2d(3),
        nn.Conv2d(3, width, 7),
        norm(width),
        nn.ReLU(True),
        nn.Conv2d(width, 2 * width, 3, 2, 1),
        norm(2 * width),
        nn.ReLU(True),
        nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
        norm(4 * width),
        nn.ReLU(True),
        *(ResnetBlock(4 * width, norm) for _ in range(blocks)),
        nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, output_padding=1),
        norm(2 * width),
        nn.ReLU(True),
        nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1),
        norm(width),
        nn.ReLU(True),
        nn.ReflectionPad2d(3),
        nn.Conv2d(width, 3, 7),
        nn.Tanh(),
    )


class AntiAliased(nn.Module):
    """CUT's down-sampling: a filter of stride 2 for each channel, behind a reflected border."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (torch.outer(taps, taps) / 16).repeat(channels, 1, 1, 1))
        self.pad = nn.ReflectionPad2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.pad(x), self.kernel, stride=2, groups=x.shape[1])


class Cut(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.InstanceNorm2d(2 * width),
            nn.ReLU(True),
            AntiAliased(2 * width),
            ResnetBlock(2 * width),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def forward(self, picture: Tensor) -> Tensor:
        return self.model(picture)


class Pix2pixHd(nn.Module):
    """A global generator at half the size, whose last features a local enhancer adds to its own."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.coarse = resnet(width)[:-3]
        self.down = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.before = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width // 2, 7),
            nn.InstanceNorm2d(width // 2),
            nn.ReLU(True),
            nn.Conv2d(width // 2, width, 3, 2, 1),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
        )
        self.after = nn.Sequential(
            ResnetBlock(width),
            nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1),
            nn.InstanceNorm2d(width // 2),
            nn.ReLU(True),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width // 2, 3, 7),
            nn.Tanh(),
        )

    def forward(self, picture: Tensor) -> Tensor:
        return self.after(self.before(picture) + self.coarse(self.down(picture)))


class Spade(nn.Module):
    """A norm whose gain and bias are convolutions of the resized class map."""

    def __init__(self, channels: int, classes: int, hidden: int = 16) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Sequential(nn.Conv2d(classes, hidden, 3, padding=1), nn.ReLU())
        self.gain = nn.Conv2d(hidden, channels, 3, padding=1)
        self.bias = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        hidden = self.shared(F.interpolate(classes, size=x.shape[2:], mode="nearest"))
        return self.norm(x) * (1 + self.gain(hidden)) + self.bias(hidden)


class Gaugan(nn.Module):
    def __init__(self, classes: int = 5, width: int = 16, z: int = 32) -> None:
        super().__init__()
        self.seed = nn.Linear(z, 4 * width * 16)
        sizes = (4 * width, 2 * width, width, width)
        self.norms = nn.ModuleList(Spade(c, classes) for c in sizes)
        self.convs = nn.ModuleList(
            nn.utils.spectral_norm(nn.Conv2d(i, o, 3, padding=1)) for i, o in itertools.pairwise(sizes)
        )
        self.rgb = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, classes: Tensor, z: Tensor) -> Tensor:
        x = self.seed(z).view(z.shape[0], -1, 4, 4)
        for norm, conv in zip(self.norms, self.convs):
            x = F.interpolate(conv(F.leaky_relu(norm(x, classes), 0.2)), scale_factor=2)
        return torch.tanh(self.rgb(F.leaky_relu(self.norms[-1](x, classes), 0.2)))


class Stargan(nn.Module):
    """The attributes, as planes, beside the picture; instance norms with running statistics."""

    def __init__(self, attributes: int = 5, width: int = 16) -> None:
        super().__init__()

        def norm(channels: int) -> nn.Module:
            return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)

        def residual() -> nn.Module:
            return Residual(
                nn.Conv2d(4 * width, 4 * width, 3, padding=1, bias=False),
                norm(4 * width),
                nn.ReLU(inplace=True),
                nn.Conv2d(4 * width, 4 * width, 3, padding=1, bias=False),
                norm(4 * width),
            )

        self.main = nn.Sequential(
            nn.Conv2d(3 + attributes, width, 7, padding=3, bias=False),
            norm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            norm(2 * width),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False),
            norm(4 * width),
            nn.ReLU(inplace=True),
            residual(),
            residual(),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False),
            norm(2 * width),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            norm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 3, 7, padding=3, bias=False),
            nn.Tanh(),
        )

    def forward(self, picture: Tensor, attributes: Tensor) -> Tensor:
        planes = attributes.view(attributes.size(0), attributes.size(1), 1, 1)
        planes = planes.repeat(1, 1, picture.size(2), picture.size(3))
        return self.main(torch.cat([picture, planes], 1))


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x + super().forward(x)


class AdaIn(nn.Module):
    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.norm, self.fc = nn.InstanceNorm2d(channels), nn.Linear(style, 2 * channels)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        h = self.fc(s)
        gain, bias = torch.chunk(h.view(h.size(0), h.size(1), 1, 1), 2, 1)
        return (1 + gain) * self.norm(x) + bias


class AdaInBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, style: int, *, up: bool) -> None:
        super().__init__()
        self.up, self.norm1, self.norm2 = up, AdaIn(inputs, style), AdaIn(outputs, style)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        y = F.leaky_relu(self.norm1(x, s), 0.2)
        if self.up:
            x, y = F.interpolate(x, scale_factor=2), F.interpolate(y, scale_factor=2)
        y = self.conv2(F.leaky_relu(self.norm2(self.conv1(y), s), 0.2))
        return (self.skip(x) + y) / 2**0.5


class Stargan2(nn.Module):
    """A style vector through adaptive norms, and a high-pass skip from the encoder."""

    def __init__(self, width: int = 16, style: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1)
        self.encode = nn.ModuleList(
            nn.Sequential(
                nn.InstanceNorm2d(i, affine=True),
                nn.LeakyReLU(0.2),
                nn.Conv2d(i, o, 3, 1, 1),
                nn.AvgPool2d(2),
            )
            for i, o in ((width, 2 * width), (2 * width, 4 * width))
        )
        self.decode = nn.ModuleList(
            AdaInBlock(i, o, style, up=up)
            for i, o, up in ((4, 4, False), (4, 2, True), (2, 1, True))
            for i, o in [(i * width, o * width)]
        )
        self.rgb = nn.Sequential(
            nn.InstanceNorm2d(width, affine=True), nn.LeakyReLU(0.2), nn.Conv2d(width, 3, 1)
        )
        self.register_buffer("high", torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 8)

    def forward(self, picture: Tensor, style: Tensor) -> Tensor:
        x = self.stem(picture)
        kept: dict[int, Tensor] = {}
        for layer in self.encode:
            kept[x.size(2)] = x
            x = layer(x)
        for block in self.decode:
            x = block(x, style)
            if x.size(2) in kept and x.size(2) == 16:
                kernel = self.high[None, None].repeat(x.size(1), 1, 1, 1)
                x = x + F.conv2d(kept[x.size(2)], kernel, padding=1, groups=x.size(1))
        return self.rgb(x)


class LayerNorm2d(nn.Module):
    """MUNIT's norm over channels and pixels, by its own arithmetic."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.rand(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = [-1, *[1] * (x.dim() - 1)]
        mean = x.view(x.size(0), -1).mean(1).view(*shape)
        std = x.view(x.size(0), -1).std(1).view(*shape)
        x = (x - mean) / (std + 1e-5)
        return x * self.gamma.view(1, -1, 1, 1) + self.beta.view(1, -1, 1, 1)


class MunitBlock(nn.Module):
    """Adaptive norms through `F.batch_norm` on a view, as MUNIT writes them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pad, self.width = nn.ReflectionPad2d(1), width
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3), nn.Conv2d(width, width, 3)

    def norm(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = F.instance_norm(x.reshape(1, n * c, h, w))
        return y.view(n, c, h, w) * gain.view(n, c, 1, 1) + bias.view(n, c, 1, 1)

    def forward(self, x: Tensor, gains: Tensor, biases: Tensor) -> Tensor:
        y = F.relu(self.norm(self.conv1(self.pad(x)), gains[:, : self.width], biases[:, : self.width]))
        return x + self.norm(self.conv2(self.pad(y)), gains[:, self.width :], biases[:, self.width :])


class Munit(nn.Module):
    """Content from the picture, style from a vector whose MLP gives the parameters of every norm."""

    def __init__(self, width: int = 16, style: int = 8) -> None:
        super().__init__()
        inner = 2 * width
        self.content = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, inner, 4, 2),
            nn.InstanceNorm2d(inner),
            nn.ReLU(),
        )
        self.mlp = nn.Sequential(
            nn.Linear(style, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8 * inner)
        )
        self.blocks = nn.ModuleList(MunitBlock(inner) for _ in range(2))
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.ReflectionPad2d(2),
            nn.Conv2d(inner, width, 5),
            LayerNorm2d(width),
            nn.ReLU(),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def forward(self, picture: Tensor, style: Tensor) -> Tensor:
        x, parameters = self.content(picture), self.mlp(style)
        width = x.shape[1]
        for index, block in enumerate(self.blocks):
            own = parameters[:, index * 4 * width : (index + 1) * 4 * width]
            x = block(x, own[:, : 2 * width], own[:, 2 * width :])
        return self.up(x)


class Unit(nn.Module):
    """A VAE's encoder, whose mean is decoded; residual blocks on both sides share the latent."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        whole = resnet(width, 2)
        self.encoder, self.decoder = whole[:11], whole[11:]

    def forward(self, picture: Tensor) -> Tensor:
        return self.decoder(self.encoder(picture))


class Ilnorm(nn.Module):
    """U-GAT-IT's norm: instance and layer norm, mixed by a learnt share for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.rand(1, channels, 1, 1))

    def forward(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        mean, var = torch.mean(x, [2, 3], keepdim=True), torch.var(x, [2, 3], keepdim=True)
        instance = (x - mean) / torch.sqrt(var + 1e-5)
        mean, var = torch.mean(x, [1, 2, 3], keepdim=True), torch.var(x, [1, 2, 3], keepdim=True)
        layer = (x - mean) / torch.sqrt(var + 1e-5)
        rho = self.rho.expand(x.shape[0], -1, -1, -1)
        return (rho * instance + (1 - rho) * layer) * gain[:, :, None, None] + bias[:, :, None, None]


class Ugatit(nn.Module):
    """Attention from the weights of two classifiers, then blocks whose norms a small MLP steers."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        inner = 2 * width
        self.down = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7, bias=False),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, inner, 3, 2, bias=False),
            nn.InstanceNorm2d(inner),
            nn.ReLU(True),
            ResnetBlock(inner),
        )
        self.gap, self.gmp = nn.Linear(inner, 1, bias=False), nn.Linear(inner, 1, bias=False)
        self.mix = nn.Conv2d(2 * inner, inner, 1)
        self.fc = nn.Sequential(nn.Linear(inner, inner, bias=False), nn.ReLU(True))
        self.gain, self.bias = nn.Linear(inner, inner, bias=False), nn.Linear(inner, inner, bias=False)
        self.pad, self.conv = nn.ReflectionPad2d(1), nn.Conv2d(inner, inner, 3, bias=False)
        self.norm, self.last = Ilnorm(inner), Ilnorm(width)
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(inner, width, 3, bias=False)
        )
        self.gamma, self.beta = nn.Parameter(torch.ones(1, width)), nn.Parameter(torch.zeros(1, width))
        self.rgb = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7, bias=False), nn.Tanh())

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        x = self.down(picture)
        mean = F.adaptive_avg_pool2d(x, 1)
        largest = F.adaptive_max_pool2d(x, 1)
        logits = torch.cat([self.gap(mean.flatten(1)), self.gmp(largest.flatten(1))], 1)
        by_mean = x * next(self.gap.parameters()).unsqueeze(2).unsqueeze(3)
        by_largest = x * next(self.gmp.parameters()).unsqueeze(2).unsqueeze(3)
        x = F.relu(self.mix(torch.cat([by_mean, by_largest], 1)))
        h = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        x = x + self.norm(self.conv(self.pad(x)), self.gain(h), self.bias(h))
        x = F.relu(self.last(self.up(x), self.gamma.expand(x.shape[0], -1), self.beta.expand(x.shape[0], -1)))
        return self.rgb(x), logits


class Inverted(nn.Module):
    """AnimeGAN's inverted residual: 1x1, depthwise 3x3, 1x1, with norms over everything."""

    def __init__(self, width: int, ratio: int = 2) -> None:
        super().__init__()
        inner = width * ratio
        self.layers = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False),
            nn.GroupNorm(1, inner),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(inner, inner, 3, groups=inner, bias=False),
            nn.GroupNorm(1, inner),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.GroupNorm(1, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class AnimeGan(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(
                nn.ReflectionPad2d((0, 1, 0, 1) if stride == 2 else 1),
                nn.Conv2d(inputs, outputs, 3, stride, bias=False),
                nn.GroupNorm(1, outputs),
                nn.LeakyReLU(0.2, inplace=True),
            )

        self.down = nn.Sequential(block(3, width), block(width, 2 * width, 2), Inverted(2 * width))
        self.up = nn.Sequential(block(2 * width, width), nn.Conv2d(width, 3, 1, bias=False), nn.Tanh())

    def forward(self, picture: Tensor) -> Tensor:
        x = self.down(picture)
        size = [2 * x.shape[2], 2 * x.shape[3]]
        return self.up(F.interpolate(x, size, mode="bilinear", align_corners=True))


class Shuffled(nn.Module):
    """ShuffleNet's unit: half of the channels passes by, then both halves are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(True),
            nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False),
            nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(True),
        )

    def forward(self, x: Tensor) -> Tensor:
        one, other = x.chunk(2, 1)
        x = torch.cat([one, self.branch(other)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Cartoon(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(True))
        self.blocks = nn.Sequential(*(Shuffled(width) for _ in range(3)))
        self.up = nn.Sequential(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU())
        self.rgb = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        return torch.tanh(self.rgb(self.up(self.blocks(self.down(picture)))))


CLASSES = between(0.0, 1.0, 5, 32, 32, name="classes")
PICTURE = contract(picture(), image())

ARCHITECTURES = (
    Architecture("pix2pix U-Net", "Isola 2017", unet, PICTURE),
    Architecture("pix2pixHD", "Wang 2018", Pix2pixHd, PICTURE),
    Architecture("CycleGAN", "Zhu 2017", resnet, PICTURE),
    Architecture("CycleGAN, BatchNorm", "Zhu 2017", lambda: resnet(norm=nn.BatchNorm2d), PICTURE),
    Architecture("CUT", "Park 2020", Cut, PICTURE),
    Architecture("SPADE", "Park 2019", Gaugan, contract(CLASSES, latent(32), image())),
    Architecture("UNIT", "Liu 2017", Unit, PICTURE),
    Architecture("MUNIT", "Huang 2018", Munit, contract(picture(), latent(8, name="style"), image())),
    Architecture("StarGAN", "Choi 2018", Stargan, contract(picture(), latent(5, name="attributes"), image())),
    Architecture(
        "StarGAN v2", "Choi 2020", Stargan2, contract(picture(), latent(16, name="style"), image(reach=3))
    ),
    Architecture(
        "U-GAT-IT",
        "Kim 2020",
        Ugatit,
        contract(picture(), image(), values(2, name="logits", low=-4, high=4)),
    ),
    Architecture("AnimeGAN v2", "Chen 2020", AnimeGan, PICTURE),
    Architecture("ShuffleNet cartoon", "Ma 2018", Cartoon, PICTURE),
)
