"""Fast-SRGAN x4, by HasnainRaz/Fast-SRGAN (MIT): PixelShuffle, InstanceNorm without affine."""

from pathlib import Path

import torch
from torch import Tensor, nn

from edgegan.runtime.contract import Contract, Input, Output, Sample

CHECKPOINT = "generators/fast_srgan_hasnainraz/model.pt"
CONTRACT = Contract(
    (Input("image", (3, 24, 24), sample=Sample("uniform")),),
    (Output("larger", (3, 96, 96)),),
)


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.InstanceNorm2d(width)
        self.relu1 = nn.PReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.InstanceNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))) + x


class Double(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width * 4, 3, padding=1)
        self.phase_shift = nn.PixelShuffle(2)
        self.relu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.phase_shift(self.conv(x)))


class Generator(nn.Module):
    def __init__(self, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.neck = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.PReLU())
        self.stem = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.bottleneck = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.InstanceNorm2d(width)
        )
        self.upsampling = nn.Sequential(Double(width), Double(width))
        self.head = nn.Sequential(nn.Conv2d(width, 3, 3, padding=1), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        first = self.neck(image)
        return self.head(self.upsampling(self.bottleneck(self.stem(first)) + first))


def load(data: Path) -> nn.Module:
    module = Generator()
    stored = torch.load(data / CHECKPOINT, weights_only=True, map_location="cpu")
    module.load_state_dict({key.removeprefix("_orig_mod."): value for key, value in stored.items()})
    return module.eval()
