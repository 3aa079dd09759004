"""Real-ESRGAN's small video net x4, realesr-animevideov3 (BSD-3): a plain stack and one PixelShuffle."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.runtime.contract import Contract, Input, Output, Sample

CHECKPOINT = "generators/realesr_animevideov3/state_dict_fp32.pt"
CONTRACT = Contract(
    (Input("image", (3, 24, 24), sample=Sample("uniform", 0.0, 1.0)),),
    (Output("larger", (3, 96, 96), (0.0, 1.0)),),
)


class Generator(nn.Module):
    def __init__(self, width: int = 64, convolutions: int = 16, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.PReLU(width)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 3 * scale**2, 3, padding=1))
        self.upsampler = nn.PixelShuffle(scale)

    def forward(self, image: Tensor) -> Tensor:
        return self.upsampler(self.body(image)) + F.interpolate(
            image, scale_factor=self.scale, mode="nearest"
        )


def load(data: Path) -> nn.Module:
    module = Generator()
    module.load_state_dict(torch.load(data / CHECKPOINT, weights_only=True, map_location="cpu"))
    return module.eval()
