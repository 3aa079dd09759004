"""Class-conditional WGAN-GP of digits, by HayatoHongo (MIT): a Linear and view seed, two inputs."""

from pathlib import Path

import torch
from torch import Tensor, nn

from edgegan.runtime.contract import Contract, Input, Output, Sample

CHECKPOINT = "generators/mnist_cwgangp_hayatohongo/generator.pth"
CONTRACT = Contract(
    (Input("z", (10,)), Input("label", (), "int64", Sample("labels", classes=10))),
    (Output("image", (1, 28, 28)),),
)


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(10, 10)
        self.l1 = nn.Sequential(nn.Linear(20, 128 * 7 * 7))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(128),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.BatchNorm2d(128, 0.8),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.BatchNorm2d(64, 0.8),
            nn.ReLU(),
            nn.Conv2d(64, 1, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        x = self.l1(torch.cat((z, self.label_emb(label)), 1))
        return self.conv_blocks(x.view(x.shape[0], 128, 7, 7))


def load(data: Path) -> nn.Module:
    module = Generator()
    module.load_state_dict(torch.load(data / CHECKPOINT, weights_only=True, map_location="cpu"))
    return module.eval()
