"""What a picture shows and how it is painted, in the feature maps of a network that does not learn (Gatys et
al. 2016, doi:10.1109/CVPR.2016.265; Johnson et al. 2016, arXiv:1603.08155)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from edgegan.learning.devices import prepare
from edgegan.learning.losses.features import perceptual
from edgegan.learning.taps import blocks, recording


class Look:
    """Compares pictures (N, C, H, W).

    Args:
        extractor: with trained weights; its outermost blocks give the maps (`edgegan.learning.taps.blocks`).
        example: pictures of the size that is learnt from.
        painting: a picture (1, C, H, W) of any size, where style is compared.
        fabric: the processes.
    """

    def __init__(
        self, extractor: nn.Module, example: Tensor, painting: Tensor | None, fabric: Fabric
    ) -> None:
        self.fabric = fabric
        self.extractor = prepare(extractor, fabric).eval().requires_grad_(False)
        self.names = list(blocks(self.extractor, [example]))
        with torch.no_grad():
            self.painted = {} if painting is None else grams(self._maps(painting, self.names))

    def __call__(self, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the relative L1 distance of the deepest maps, and the distance to the painting's style, 0
        where there is none."""
        deepest = self.names[-1:]
        with torch.no_grad():
            shown = self._maps(theirs, deepest)
        maps = self._maps(ours, self.names if self.painted else deepest)
        content = perceptual({name: maps[name] for name in deepest}, shown)
        return content, style(grams(maps), self.painted) if self.painted else torch.zeros_like(content)

    def _maps(self, pictures: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        with self.fabric.autocast(), recording(self.extractor, names) as maps:
            self.extractor(pictures)
        return maps


def grams(maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return how channels go together in each of the maps (N, C, H, W), over all places: (N, C, C)."""
    flat = {name: each.float().flatten(2) for name, each in maps.items()}
    return {name: each @ each.transpose(1, 2) / each.shape[2] for name, each in flat.items()}


def style(ours: Mapping[str, Tensor], painted: Mapping[str, Tensor]) -> Tensor:
    """Return the mean over maps and samples of |ours - painted|^2 / |painted|^2, of Gram matrices."""
    distances = [
        (ours[name] - theirs).square().sum((1, 2)) / (theirs.square().sum((1, 2)) + 1e-12)
        for name, theirs in painted.items()
    ]
    return torch.stack([each.mean() for each in distances]).mean()


def total_variation(pictures: Tensor) -> Tensor:
    """Return how much neighbouring pixels of (N, C, H, W) differ, down and across, on average."""
    down, across = pictures[:, :, 1:] - pictures[:, :, :-1], pictures[..., 1:] - pictures[..., :-1]
    return down.abs().mean() + across.abs().mean()
