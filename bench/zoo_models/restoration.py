"""Super-resolution, restoration and inpainting."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo_models.ports import Architecture, between, contract, image, picture
from zoo_models.style import Modulated, Styled
from zoo_models.transformer import Block, Windows


class Srgan(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()

        def block() -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.PReLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.BatchNorm2d(width),
            )

        self.head = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.ModuleList(block() for _ in range(3))
        self.up = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.PReLU(),
            nn.Conv2d(width, 3, 9, padding=4),
        )

    def forward(self, picture: Tensor) -> Tensor:
        first = x = self.head(picture)
        for block in self.blocks:
            x = x + block(x)
        return (torch.tanh(self.up(first + x)) + 1) / 2


class Dense(nn.Module):
    """ESRGAN's dense block: each convolution reads all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        sizes = [(width + i * growth, growth) for i in range(4)] + [(width + 4 * growth, width)]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in sizes)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for conv in self.convs[:-1]:
            parts.append(F.leaky_relu(conv(torch.cat(parts, 1)), 0.2))
        return x + 0.2 * self.convs[-1](torch.cat(parts, 1))


class Rrdb(nn.Module):
    def __init__(self, width: int = 32, growth: int = 16, blocks: int = 1, unshuffle: int = 1) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.first = nn.Conv2d(3 * unshuffle**2, width, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(*(Dense(width, growth) for _ in range(3))) for _ in range(blocks)
        )
        self.after, self.up1, self.up2, self.high = (nn.Conv2d(width, width, 3, padding=1) for _ in range(4))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        x = F.pixel_unshuffle(picture, self.unshuffle) if self.unshuffle > 1 else picture
        first = x = self.first(x)
        for block in self.body:
            x = x + 0.2 * block(x)
        x = first + self.after(x)
        x = F.leaky_relu(self.up1(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        x = F.leaky_relu(self.up2(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        return self.last(F.leaky_relu(self.high(x), 0.2))


class Compact(nn.Module):
    """Real-ESRGAN's small network: convolutions and PReLUs, and the picture itself on top."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1), nn.PReLU(width)]
        for _ in range(3):
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 48, 3, 1, 1))

    def forward(self, picture: Tensor) -> Tensor:
        return F.pixel_shuffle(self.body(picture), 4) + F.interpolate(picture, scale_factor=4, mode="nearest")


class Swinir(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width, Windows(width, 4, 8, shifted=bool(i % 2))) for i in range(4))
        self.norm, self.after = nn.LayerNorm(width), nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.Sequential(nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, picture: Tensor) -> Tensor:
        first = self.first(picture)
        x = first.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return self.up(first + self.after(self.norm(x).permute(0, 3, 1, 2)))


class Distilling(nn.Module):
    """IMDN's block: of each convolution a quarter of the channels is kept, the rest goes on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kept, self.rest = width // 4, width - width // 4
        self.convs = nn.ModuleList(nn.Conv2d(i, width, 3, padding=1) for i in (width, self.rest, self.rest))
        self.last = nn.Conv2d(self.rest, self.kept, 3, padding=1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(width, width // 4, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // 4, width, 1),
            nn.Sigmoid(),
        )
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept, rest = [], x
        for conv in self.convs:
            part, rest = torch.split(F.leaky_relu(conv(rest), 0.05), (self.kept, self.rest), dim=1)
            kept.append(part)
        y = torch.cat([*kept, self.last(rest)], 1)
        mean = y.sum((2, 3), keepdim=True) / (y.size(2) * y.size(3))
        contrast = ((y - mean).pow(2).sum((2, 3), keepdim=True) / (y.size(2) * y.size(3))).sqrt() + mean
        return x + self.mix(y * self.squeeze(contrast))


class ResidualFeatures(nn.Module):
    """RFDN's block: 1x1 distillations beside shallow residuals, then spatial attention on pooled features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, small = width // 2, width // 4
        self.distil = nn.ModuleList(nn.Conv2d(width, half, 1) for _ in range(3))
        self.refine = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.last, self.mix = nn.Conv2d(width, half, 3, padding=1), nn.Conv2d(4 * half, width, 1)
        self.down, self.side = nn.Conv2d(width, small, 1), nn.Conv2d(small, small, 1)
        self.strided, self.inner = nn.Conv2d(small, small, 3, 2), nn.Conv2d(small, small, 3, padding=1)
        self.gate = nn.Conv2d(small, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept, rest = [], x
        for distil, refine in zip(self.distil, self.refine):
            kept.append(F.leaky_relu(distil(rest), 0.05))
            rest = F.leaky_relu(refine(rest) + rest, 0.05)
        y = self.mix(torch.cat([*kept, F.leaky_relu(self.last(rest), 0.05)], 1))
        small = self.down(y)
        pooled = F.max_pool2d(self.strided(small), 7, 3)
        wide = F.interpolate(self.inner(pooled), y.shape[2:], mode="bilinear", align_corners=False)
        return x + y * torch.sigmoid(self.gate(wide + self.side(small)))


class Light(nn.Module):
    """A stack of light blocks, all of whose outputs are mixed."""

    def __init__(self, block, width: int = 32, count: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(block(width) for _ in range(count))
        self.mix = nn.Sequential(nn.Conv2d(count * width, width, 1), nn.LeakyReLU(0.05))
        self.after = nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.Sequential(nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, picture: Tensor) -> Tensor:
        first = x = self.first(picture)
        every = []
        for block in self.blocks:
            x = block(x)
            every.append(x)
        return self.up(self.after(self.mix(torch.cat(every, 1))) + first)


class SwishBlock(nn.Module):
    """VQGAN's residual block: GroupNorm and x * sigmoid(x), twice."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, inputs, 1e-6), nn.GroupNorm(8, outputs, 1e-6)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        h = self.conv1(h * torch.sigmoid(h))
        h = self.norm2(h)
        return self.skip(x) + self.conv2(h * torch.sigmoid(h))


class PixelAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width, 1e-6)
        self.q, self.k, self.v, self.out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        n, c, height, width = x.shape
        q, k, v = (f(h).reshape(n, c, height * width) for f in (self.q, self.k, self.v))
        weights = torch.softmax(torch.bmm(q.permute(0, 2, 1), k) * c**-0.5, 2)
        return x + self.out(torch.bmm(v, weights.permute(0, 2, 1)).reshape(n, c, height, width))


def vqgan_decoder(width: int = 32, codes: int = 16) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(codes, 2 * width, 3, padding=1),
        SwishBlock(2 * width, 2 * width),
        PixelAttention(2 * width),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1),
        SwishBlock(2 * width, width),
        nn.GroupNorm(8, width, 1e-6),
        nn.SiLU(),
        nn.Conv2d(width, 3, 3, padding=1),
    )


class Codeformer(nn.Module):
    """Codes predicted by a transformer, looked up as a softmax over the book, and decoded."""

    def __init__(self, width: int = 32, codes: int = 16, book: int = 64, size: int = 4) -> None:
        super().__init__()
        self.size = size
        self.encode = nn.Sequential(
            nn.Conv2d(3, width, 4, 4), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.position = nn.Parameter(0.1 * torch.randn(size * size, 1, width))
        self.attention, self.norm = nn.MultiheadAttention(width, 4), nn.LayerNorm(width)
        self.logits, self.book = nn.Linear(width, book), nn.Parameter(torch.randn(book, codes))
        self.decoder = vqgan_decoder(width, codes)
        self.scale, self.shift = nn.Conv2d(width, codes, 1), nn.Conv2d(width, codes, 1)

    def forward(self, picture: Tensor) -> Tensor:
        features = self.encode(picture)
        tokens = features.flatten(2).permute(2, 0, 1)
        query = self.norm(tokens) + self.position
        tokens = tokens + self.attention(query, query, self.norm(tokens))[0]
        weights = torch.softmax(4 * self.logits(tokens).permute(1, 0, 2), -1)
        quantized = (weights @ self.book).permute(0, 2, 1).view(-1, self.book.shape[1], self.size, self.size)
        quantized = quantized * (1 + self.scale(features)) + self.shift(features)
        return self.decoder(quantized)


class Gfpgan(nn.Module):
    """A U-Net, whose deepest features give the style, and whose others scale half of StyleGAN2's channels."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, width, 1), nn.Conv2d(width, width, 3, 2, 1)
        self.deep = nn.Conv2d(width, width, 3, 2, 1)
        self.style = nn.Linear(width * 16, width)
        self.scale = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, width // 2, 3, 1, 1)
        )
        self.shift = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, width // 2, 3, 1, 1)
        )
        self.start = nn.Parameter(torch.randn(1, width, 4, 4))
        self.up, self.flat = Styled(Modulated, width, width, 8, up=True), Styled(Modulated, width, width, 8)
        self.rgb = Modulated(width, 3, 1, width, demodulate=False)

    def forward(self, picture: Tensor) -> Tensor:
        x = F.leaky_relu(self.down(F.leaky_relu(self.first(picture), 0.2)), 0.2)
        w = self.style(F.leaky_relu(self.deep(x), 0.2).flatten(1))
        y = self.up(self.start.repeat(picture.shape[0], 1, 1, 1), w)
        same, changed = torch.split(y, y.size(1) // 2, dim=1)
        y = torch.cat([same, changed * self.scale(x) + self.shift(x)], 1)
        return self.rgb(self.flat(y, w), w)


class ContextEncoder(nn.Sequential):
    """A picture with a hole in, the hole's content out."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.BatchNorm2d(2 * width, 0.8),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
            nn.BatchNorm2d(4 * width, 0.8),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 8 * width, 4),
            nn.ConvTranspose2d(8 * width, 4 * width, 4),
            nn.BatchNorm2d(4 * width, 0.8),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1),
            nn.BatchNorm2d(2 * width, 0.8),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, 3, 4, 2, 1),
            nn.Tanh(),
        )


class Gated(nn.Module):
    """A convolution whose second half of channels gates the first."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, rate: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 2 * outputs, kernel, stride, rate * (kernel - 1) // 2, rate)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = torch.split(self.conv(x), self.conv.out_channels // 2, 1)
        return F.elu(x) * torch.sigmoid(gate)


class Deepfill(nn.Module):
    """Two stages: a coarse picture is put into the hole, and refined."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def stage(inputs: int) -> nn.ModuleList:
            return nn.ModuleList(
                [
                    Gated(inputs, width, 5),
                    Gated(width, 2 * width, 3, 2),
                    Gated(2 * width, 2 * width, rate=2),
                    Gated(2 * width, 2 * width, rate=4),
                    Gated(2 * width, width),
                    nn.Conv2d(width, 3, 3, padding=1),
                ]
            )

        self.coarse, self.fine = stage(5), stage(4)

    @staticmethod
    def run(layers: nn.ModuleList, x: Tensor) -> Tensor:
        for index, layer in enumerate(layers):
            x = layer(F.interpolate(x, scale_factor=2) if index == 4 else x)
        return torch.clamp(x, -1.0, 1.0)

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        known = picture * (1 - mask)
        coarse = self.run(self.coarse, torch.cat([known, torch.ones_like(mask), mask], 1))
        filled = coarse * mask + known
        fine = self.run(self.fine, torch.cat([filled, mask], 1))
        return fine * mask + known


class Spectral(nn.Module):
    """LaMa's transform: a 1x1 convolution of the real and imaginary parts of the spectrum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.before = nn.Sequential(
            nn.Conv2d(width, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(True)
        )
        self.conv = nn.Conv2d(2 * half, 2 * half, 1, bias=False)
        self.norm, self.after = nn.BatchNorm2d(2 * half), nn.Conv2d(half, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        n, c, height, width = x.shape
        spectrum = torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")
        parts = torch.stack((spectrum.real, spectrum.imag), -1).permute(0, 1, 4, 2, 3).contiguous()
        parts = F.relu(self.norm(self.conv(parts.view(n, 2 * c, height, -1))))
        parts = parts.view(n, c, 2, height, -1).permute(0, 1, 3, 4, 2).contiguous()
        spectrum = torch.complex(parts[..., 0], parts[..., 1])
        back = torch.fft.irfftn(spectrum, s=(height, width), dim=(-2, -1), norm="ortho")
        return self.after(x + back)


class Ffc(nn.Module):
    """A fast Fourier convolution: local and global channels, each to each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.ll, self.lg, self.gl = (
            nn.Conv2d(half, half, 3, padding=1, padding_mode="reflect") for _ in range(3)
        )
        self.gg = Spectral(half)
        self.norm_l, self.norm_g = nn.BatchNorm2d(half), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        local, wide = x.chunk(2, 1)
        y_local = F.relu(self.norm_l(self.ll(local) + self.gl(wide)))
        y_wide = F.relu(self.norm_g(self.lg(local) + self.gg(wide)))
        return x + torch.cat([y_local, y_wide], 1)


class Lama(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(4, width, 7),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(True),
            Ffc(2 * width),
            Ffc(2 * width),
            nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Sigmoid(),
        )

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        return self.model(torch.cat([picture * (1 - mask), mask], 1))


class Migan(nn.Module):
    """Depthwise separable convolutions with filtered up- and down-sampling, and a U-Net's skips."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def separable(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs),
                nn.LeakyReLU(0.2),
                nn.Conv2d(inputs, outputs, 1),
                nn.LeakyReLU(0.2),
            )

        self.first = nn.Conv2d(4, width, 1)
        self.enc1, self.enc2 = separable(width, 2 * width), separable(2 * width, 2 * width)
        self.dec1, self.dec2 = separable(2 * width, 2 * width), separable(2 * width, width)
        self.rgb1, self.rgb2 = nn.Conv2d(2 * width, 3, 1), nn.Conv2d(width, 3, 1)
        kernel = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
        self.register_buffer("filter", kernel[None, None])

    def down(self, x: Tensor) -> Tensor:
        kernel = self.filter.expand(x.shape[1], 1, 4, 4)
        return F.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])

    def up(self, x: Tensor) -> Tensor:
        kernel = 4 * self.filter.expand(x.shape[1], 1, 4, 4)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        large = F.leaky_relu(self.first(torch.cat([mask - 0.5, picture * mask], 1)), 0.2)
        small = self.down(self.enc1(large))
        x = self.dec1(self.enc2(small) + small)
        rgb = self.up(self.rgb1(x))
        return rgb + self.rgb2(self.dec2(self.up(x)))


SMALL = picture(16)
MASK = between(0.0, 1.0, 1, 32, 32, name="mask")
UNIT = between(0.0, 1.0, 3, 16, 16, name="picture")

ARCHITECTURES = (
    Architecture("SRGAN", "Ledig 2017", Srgan, contract(UNIT, image(32))),
    Architecture("ESRGAN", "Wang 2018", Rrdb, contract(UNIT, image(64, reach=3))),
    Architecture(
        "Real-ESRGAN x2", "Wang 2021", lambda: Rrdb(unshuffle=2), contract(SMALL, image(32, reach=3))
    ),
    Architecture("Real-ESRGAN compact", "Wang 2021", Compact, contract(UNIT, image(64, reach=3))),
    Architecture("SwinIR", "Liang 2021", Swinir, contract(SMALL, image(32, reach=3))),
    Architecture("IMDN", "Hui 2019", lambda: Light(Distilling), contract(SMALL, image(32, reach=3))),
    Architecture(
        "RFDN", "Liu 2020", lambda: Light(ResidualFeatures), contract(picture(24), image(48, reach=3))
    ),
    Architecture(
        "VQGAN decoder",
        "Esser 2021",
        vqgan_decoder,
        contract(between(-2.0, 2.0, 16, 8, 8, name="codes"), image(16, reach=3)),
    ),
    Architecture("CodeFormer", "Zhou 2022", Codeformer, contract(SMALL, image(8, reach=3))),
    Architecture("GFPGAN", "Wang 2021", Gfpgan, contract(SMALL, image(8, reach=6))),
    Architecture("context encoder", "Pathak 2016", ContextEncoder, contract(picture(), image(16))),
    Architecture("DeepFill v2", "Yu 2019", Deepfill, contract(picture(), MASK, image())),
    Architecture("LaMa", "Suvorov 2022", Lama, contract(picture(), MASK, image())),
    Architecture("MI-GAN", "Sargsyan 2023", Migan, contract(picture(), MASK, image(reach=3))),
)
