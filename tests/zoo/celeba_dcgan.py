"""DCGAN of faces, 32x32, by fletchersarip93/face-generator (Apache-2.0)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from edgegan.runtime.contract import Contract, Input, Output, Sample

CHECKPOINT = "generators/celeba32_dcgan_fletcher/generator.pt"
CONTRACT = Contract((Input("z", (100,), sample=Sample("uniform")),), (Output("image", (3, 32, 32)),))


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator_deconv = nn.Sequential(
            nn.Sequential(nn.ConvTranspose2d(100, 256, 4, bias=False), nn.BatchNorm2d(256)),
            block(nn.Conv2d(256, 128, 3, padding=1, bias=False), 128),
            block(nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), 64),
            block(nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), 32),
            nn.Sequential(nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh()),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.generator_deconv(z.view(-1, 100, 1, 1))


def block(convolution: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.LeakyReLU(0.2))


def load(data: Path) -> nn.Module:
    module = Generator()
    module.load_state_dict(torch.load(data / CHECKPOINT, weights_only=True, map_location="cpu"))
    return module.eval()
