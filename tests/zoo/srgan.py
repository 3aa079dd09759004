"""SRGAN x2 and x4, by leftthomas/SRGAN (MIT): PixelShuffle, residual blocks with batch norm."""

from pathlib import Path

import torch
from torch import Tensor, nn

from edgegan.runtime.contract import Contract, Input, Output, Sample

CHECKPOINT = "generators/srgan_leftthomas/netG_epoch_{}_100.pth"


def contract(scale: int = 4, size: int = 24) -> Contract:
    return Contract(
        (Input("image", (3, size, size), sample=Sample("uniform", 0.0, 1.0)),),
        (Output("larger", (3, size * scale, size * scale), (0.0, 1.0)),),
    )


CONTRACT = contract()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(64, 64, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(64)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class Double(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(64, 256, 3, padding=1)
        self.pixel_shuffle = nn.PixelShuffle(2)
        self.prelu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.pixel_shuffle(self.conv(x)))


class Generator(nn.Module):
    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 64, 9, padding=4), nn.PReLU())
        self.block2, self.block3, self.block4, self.block5, self.block6 = (Residual() for _ in range(5))
        self.block7 = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.PReLU())
        doubles = [Double() for _ in range(scale.bit_length() - 1)]
        self.block8 = nn.Sequential(*doubles, nn.Conv2d(64, 3, 9, padding=4))

    def forward(self, image: Tensor) -> Tensor:
        first = self.block1(image)
        x = self.block6(self.block5(self.block4(self.block3(self.block2(first)))))
        return (torch.tanh(self.block8(first + self.block7(x))) + 1) / 2


def load(data: Path, scale: int = 4) -> nn.Module:
    module = Generator(scale)
    stored = torch.load(data / CHECKPOINT.format(scale), weights_only=True, map_location="cpu")
    missing, unexpected = module.load_state_dict(stored, strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    return module.eval()
