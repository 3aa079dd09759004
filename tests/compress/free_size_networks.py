"""Small networks that take pictures and clips of any size, and their contracts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.runtime.contract import Contract


class Inpainting(nn.Module):
    """A U-Net of a picture and its mask, down by 4 and up again, with a dilated middle."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(4, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.down, self.down2 = nn.Conv2d(width, width, 4, 2, 1), nn.Conv2d(width, width, 4, 2, 1)
        self.middle = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.up = nn.ConvTranspose2d(width, width, 4, 2, 1)
        self.up2 = nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.last = nn.Conv2d(2 * width, 3, 3, padding=1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        x = self.first(torch.cat([image * (1 - mask), mask], 1))
        half = F.leaky_relu(self.down(x), 0.2)
        quarter = F.relu(self.middle(F.leaky_relu(self.down2(half), 0.2)))
        wide = F.relu(self.up2(torch.cat([half, F.relu(self.up(quarter))], 1)))
        return torch.tanh(self.last(torch.cat([x, wide], 1)))


class Style(nn.Module):
    """Mirrored borders, a stride of 2, and a norm (or none) that sees the whole."""

    def __init__(self, norm: type[nn.Module] = nn.InstanceNorm2d, width: int = 8) -> None:
        super().__init__()
        self.pad, self.norm = nn.ReflectionPad2d(2), norm(width)
        self.first, self.last = nn.Conv2d(3, width, 5, stride=2), nn.Conv2d(width, 3, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(self.pad(image))))
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
        return torch.tanh(self.last(self.pad(x)))


class Located(nn.Module):
    """Adds where each pixel is, as a tile cannot know."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return torch.tanh(self.conv(image) + torch.arange(image.shape[3]) / 64)


class Warped(nn.Module):
    """Moves pixels by a flow that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        grid = torch.tanh(self.flow(image)).permute(0, 2, 3, 1)
        return F.grid_sample(image, grid, align_corners=False)


class Vocoder(nn.Module):
    """Transposed and dilated convolutions, 8 samples a frame; without padding at the end, less by 4."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, width, 7, padding=3)
        self.up, self.up2 = nn.ConvTranspose1d(width, width, 8, 4, 2), nn.ConvTranspose1d(width, 4, 4, 2, 1)
        self.around = nn.ModuleList(nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in (1, 3))
        self.last = nn.Conv1d(4, 1, 5)

    def forward(self, mel: Tensor) -> Tensor:
        x = F.leaky_relu(self.up(self.first(mel)), 0.1)
        for layer in self.around:
            x = x + layer(F.leaky_relu(x, 0.1))
        return torch.tanh(self.last(F.leaky_relu(self.up2(x), 0.1)))[:, 0]


def pictures(output: list[Any], *, multiple: int, inputs: tuple[str, ...] = ("image",)) -> Contract:
    """Return the contract of networks of pictures and masks of one size."""
    size = {"nominal": 8 * multiple, "min": max(4, 2 * multiple), "max": 256, "multiple": multiple}
    uniform = {"kind": "uniform", "low": 0, "high": 1}
    given = [
        {"name": name, "shape": [1 if name == "mask" else 3, "H", "W"], "sample": uniform} for name in inputs
    ]
    made = {"name": "made", "shape": output}
    return Contract.from_dict({"sizes": {"H": size, "W": size}, "inputs": given, "outputs": [made]})


INPAINTING = pictures([3, "H", "W"], multiple=4, inputs=("image", "mask"))
STYLE = pictures([3, "H", "W"], multiple=2)
PLAIN = pictures([3, "H", "W"], multiple=1)
VOCODER = Contract.from_dict(
    {
        "sizes": {"T": {"nominal": 24, "min": 4}},
        "inputs": [{"name": "mel", "shape": [4, "T"]}],
        "outputs": [{"name": "wave", "shape": ["8*T-4"], "modality": {"kind": "audio", "sample_rate": 8000}}],
    }
)


def made(kind: type[nn.Module], *arguments: Any) -> nn.Module:
    """Return a network with weights that a seed draws, in eval mode."""
    torch.manual_seed(0)
    return kind(*arguments).eval().requires_grad_(False)
