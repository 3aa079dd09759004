"""A recipe small enough to compress in a test: written as a user would write it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

MODEL = """\
import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.first = nn.Sequential(
            nn.ConvTranspose2d(8, 2 * width, 4, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()
        )
        self.second = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.last = nn.ConvTranspose2d(width, 3, 4, 2, 1)

    def forward(self, z):
        return torch.tanh(self.last(self.second(self.first(z[:, :, None, None]))))
"""

RECIPE = """\
schema: 1
name: small
model: {callable: "model.py:Generator", checkpoint: teacher.safetensors}
contract:
  inputs: [{name: z, shape: [8], sample: {kind: normal}}]
  outputs: [{name: image, shape: [3, 16, 16], range: [-1, 1], layout: CHW}]
stages:
  - prune: {macs: 0.5, align: 4}
  - distill: {steps: 6, batch: 4}
  - quantize: {samples: 16, targets: [x64-cpu]}
  - export: {}
profiles:
  quick: {}
  full: {distill: {steps: 8}}
"""


def weights(width: int = 16) -> dict[str, torch.Tensor]:
    """The teacher's state dict."""
    names: dict[str, object] = {}
    exec(MODEL, names)
    torch.manual_seed(0)
    return names["Generator"](width).state_dict()  # type: ignore[operator]


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    """Write recipe.yaml, model.py and teacher.safetensors into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(text)
    (folder / "model.py").write_text(MODEL)
    save_file(weights(), folder / "teacher.safetensors")
    return folder
