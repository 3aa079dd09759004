"""Plain convolutional generators."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from zoo_models.ports import Architecture, contract, image, latent, values


class Dcgan(nn.Sequential):
    """Transposed convolutions, each with a norm and an activation, in this order or the other."""

    def __init__(self, width: int = 32, z: int = 64, *, norm_last: bool = False, slope: float = 0.0) -> None:
        sizes = [z, 4 * width, 2 * width, width]
        layers: list[nn.Module] = [nn.Unflatten(1, (z, 1, 1))]
        for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            stride, padding = (1, 0) if index == 0 else (2, 1)
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False))
            after = [nn.BatchNorm2d(outputs), nn.LeakyReLU(slope) if slope else nn.ReLU(inplace=True)]
            layers += reversed(after) if norm_last else after
        super().__init__(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh())


class Upsampled(nn.Module):
    """A Linear seed, and nearest-neighbour up-sampling before each convolution."""

    def __init__(self, width: int = 32, z: int = 64) -> None:
        super().__init__()
        self.seed = nn.Linear(z, 4 * width * 16)
        self.norm = nn.BatchNorm2d(4 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in ((4, 4), (4, 2), (2, 1)):
            layers += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(inputs * width, outputs * width, 3, padding=1),
                nn.BatchNorm2d(outputs * width, 0.8),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        seed = self.seed(z)
        return self.layers(self.norm(seed.view(z.shape[0], -1, 4, 4)))


class Wavegan(nn.Module):
    """DCGAN in one dimension: kernels of 25, strides of 4."""

    def __init__(self, width: int = 16, z: int = 64) -> None:
        super().__init__()
        self.seed = nn.Linear(z, 16 * 4 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in ((4, 2), (2, 1)):
            layers.append(nn.ConvTranspose1d(inputs * width, outputs * width, 25, 4, 11, output_padding=1))
            layers.append(nn.ReLU())
        self.layers = nn.Sequential(
            nn.ReLU(), *layers, nn.ConvTranspose1d(width, 1, 25, 4, 11, output_padding=1), nn.Tanh()
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.seed(z).unflatten(1, (-1, 16)))


class Voxels(nn.Sequential):
    """DCGAN in three dimensions."""

    def __init__(self, width: int = 16, z: int = 64) -> None:
        super().__init__(
            nn.Unflatten(1, (z, 1, 1, 1)),
            nn.ConvTranspose3d(z, 4 * width, 4, 1, 0, bias=False),
            nn.BatchNorm3d(4 * width),
            nn.ReLU(),
            nn.ConvTranspose3d(4 * width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm3d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose3d(2 * width, 1, 4, 2, 1),
            nn.Sigmoid(),
        )


class Msg(nn.Module):
    """Images of all sizes at once, one from each resolution."""

    def __init__(self, width: int = 32, z: int = 64) -> None:
        super().__init__()
        self.first = nn.ConvTranspose2d(z, width, 4)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.Conv2d(width, width, 3, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, width, 3, padding=1),
                nn.LeakyReLU(0.2),
            )
            for _ in range(3)
        )
        self.to_rgb = nn.ModuleList(nn.Conv2d(width, 3, 1) for _ in range(3))

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        x = self.first(z[:, :, None, None])
        images = []
        for block, to_rgb in zip(self.blocks, self.to_rgb):
            x = block(x)
            images.append(to_rgb(x).tanh())
        return tuple(images)


ARCHITECTURES = (
    Architecture("DCGAN", "Radford 2016", Dcgan, contract(latent(64), image())),
    Architecture("DCGAN, norm last", "", lambda: Dcgan(norm_last=True), contract(latent(64), image())),
    Architecture("DCGAN, LeakyReLU", "", lambda: Dcgan(slope=0.2), contract(latent(64), image())),
    Architecture("DCGAN, up-sampled", "Odena 2016", Upsampled, contract(latent(64), image())),
    Architecture("WaveGAN", "Donahue 2019", Wavegan, contract(latent(64), values(1, 1024, name="wave"))),
    Architecture("3D-GAN", "Wu 2016", Voxels, contract(latent(64), values(1, 16, 16, 16, name="v", low=0))),
    Architecture(
        "MSG-GAN",
        "Karnewar 2020",
        Msg,
        contract(latent(64), image(8, name="small"), image(16, name="middle"), image(32)),
    ),
)
