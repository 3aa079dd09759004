"""WGAN of Mario levels, by schrum2/GameGAN (MIT): thirteen tile planes, not a picture."""

from pathlib import Path

import torch
from torch import Tensor, nn

from edgegan.runtime.contract import Contract, Input, Output

CHECKPOINT = "generators/gamegan_mario/GECCOEncoding_Mario1_Overworld_32_Epoch7750.pth"
CONTRACT = Contract((Input("z", (32, 1, 1)),), (Output("tiles", (13, 32, 32), (0.0, 2.0), ""),))


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(32, 256, 4, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(),
            nn.ConvTranspose2d(256, 128, 4, 2, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 13, 4, 2, 1, bias=False),
            nn.ReLU(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z)


def load(data: Path) -> nn.Module:
    module = Generator()
    stored = torch.load(data / CHECKPOINT, weights_only=True, map_location="cpu")
    keys = [key for key in module.state_dict() if not key.endswith("num_batches_tracked")]
    module.load_state_dict(dict(zip(keys, stored.values(), strict=True)), strict=False)
    return module.eval()
