"""WGAN-GP of digits, by akanametov/wgan-gp (MIT)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from edgegan.runtime.contract import Contract, Input, Output

CHECKPOINT = "generators/mnist_wgangp_akanametov/generator.pt"
CONTRACT = Contract((Input("z", (64, 1, 1)),), (Output("image", (1, 28, 28)),))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            Block(64, 256, 3, 2),
            Block(256, 128, 4, 1),
            Block(128, 64, 3, 2),
            nn.ConvTranspose2d(64, 1, 4, 2),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.model(z)


def load(data: Path) -> nn.Module:
    module = Generator()
    module.load_state_dict(torch.load(data / CHECKPOINT, weights_only=True, map_location="cpu"))
    return module.eval()
