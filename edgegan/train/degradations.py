"""What pictures lose, for a generator to give back: each is a setting, and makes inputs of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from edgegan.recipe import Data

Shape = tuple[int, ...]


class Degradation(Data):
    """Makes one or two inputs (N, ...) of pictures (N, C, H, W), all from 0 to 1."""

    def teaches(self, pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell which of pictures (N, H, W, C) have anything to give back: (N,)."""
        return np.ones(len(pictures), np.bool_)

    def draw(self, rng: np.random.Generator, count: int, shape: Shape) -> tuple[NDArray[Any], ...]:
        """Draw what is random of `count` pictures of `shape` (C, H, W): arrays (count, ...)."""
        return ()

    def inputs(self, pictures: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the inputs that stand for `pictures`."""
        raise NotImplementedError

    def baseline(self, inputs: Sequence[Tensor], pictures: Tensor) -> Tensor:
        """Return what can be said of the pictures without any network, in their shape."""
        return inputs[0].expand_as(pictures)


class Same(Degradation):
    """Pictures as they are, which losses alone tell a generator to change; the baseline is the same."""

    kind: Literal["same"]

    def inputs(self, pictures: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the pictures."""
        return (pictures,)


class Downscale(Degradation):
    """Pictures a `factor` smaller, by the anti-aliased bicubic filter of Pillow; the baseline is bicubic."""

    kind: Literal["downscale"]
    factor: int = Field(default=4, ge=2, le=16)

    def inputs(self, pictures: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the small pictures (N, C, H / factor, W / factor)."""
        size = [pictures.shape[2] // self.factor, pictures.shape[3] // self.factor]
        return (F.interpolate(pictures, size, mode="bicubic", antialias=True),)

    def baseline(self, inputs: Sequence[Tensor], pictures: Tensor) -> Tensor:
        """Return the small pictures, enlarged."""
        return F.interpolate(inputs[0], pictures.shape[2:], mode="bicubic")


class Grey(Degradation):
    """Pictures without colour (N, 1, H, W); the baseline leaves them so."""

    kind: Literal["grey"]

    def teaches(self, pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell which pictures have any colour: channels that are more than 8 levels apart."""
        return (np.ptp(pictures, axis=3) > 8).any(axis=(1, 2))

    def inputs(self, pictures: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the brightness."""
        return (_grey(pictures),)


class Edges(Degradation):
    """How steep the brightness is (N, 1, H, W), by Sobel's filter; the baseline is even grey."""

    kind: Literal["edges"]

    def inputs(self, pictures: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the gradient's length, which is 1 at an edge between black and white."""
        x = F.pad(_grey(pictures), (1, 1, 1, 1), mode="replicate")
        down, across = x[:, :, 2:] - x[:, :, :-2], x[..., 2:] - x[..., :-2]
        down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
        across = across[:, :, :-2] + 2 * across[:, :, 1:-1] + across[:, :, 2:]
        return ((down.square() + across.square()).sqrt() / 4,)

    def baseline(self, inputs: Sequence[Tensor], pictures: Tensor) -> Tensor:
        """Return even grey."""
        return torch.full_like(pictures, 0.5)


class Noise(Degradation):
    """Pictures with normal noise of a `deviation`, as a share of the range; the baseline leaves it there."""

    kind: Literal["noise"]
    deviation: float = Field(default=0.1, gt=0, le=1)

    def draw(self, rng: np.random.Generator, count: int, shape: Shape) -> tuple[NDArray[Any], ...]:
        """Draw the noise."""
        return (rng.standard_normal((count, *shape), dtype=np.float32),)

    def inputs(self, pictures: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the noisy pictures."""
        return (pictures + self.deviation * drawn[0],)


class Hole(Degradation):
    """Pictures with a rectangle of even grey, and its mask (N, 1, H, W), 1 inside.

    Its sides are a quarter to `size` of the picture's, and it lies anywhere. The baseline is the mean colour
    of what is left.
    """

    kind: Literal["hole"]
    size: float = Field(default=0.5, ge=0.25, le=0.9)

    def draw(self, rng: np.random.Generator, count: int, shape: Shape) -> tuple[NDArray[Any], ...]:
        """Draw place and sides."""
        return (rng.random((count, 4), dtype=np.float32),)

    def inputs(self, pictures: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return pictures and masks."""
        spans = (
            self._span(drawn[0][:, axis], drawn[0][:, axis + 2], pictures.shape[2 + axis]) for axis in (0, 1)
        )
        rows, columns = spans
        mask = rows[:, None, :, None] * columns[:, None, None, :]
        return torch.where(mask > 0, 0.5, pictures), mask

    def _span(self, place: Tensor, length: Tensor, size: int) -> Tensor:
        """Return (N, size): 1 on an interval."""
        side = torch.floor((0.25 + (self.size - 0.25) * length) * size)
        start = torch.floor(place * (size - side + 1))[:, None]
        index = torch.arange(size, device=place.device)
        return ((index >= start) & (index < start + side[:, None])).float()

    def baseline(self, inputs: Sequence[Tensor], pictures: Tensor) -> Tensor:
        """Return the mean colour inside, and what is left outside."""
        picture, mask = inputs
        mean = (picture * (1 - mask)).sum((2, 3), keepdim=True) / (1 - mask).sum((2, 3), keepdim=True)
        return torch.where(mask > 0, mean, picture)


AnyDegradation = Same | Downscale | Grey | Edges | Noise | Hole


def _grey(pictures: Tensor) -> Tensor:
    """Return the brightness (N, 1, H, W) of grey or RGB pictures (ITU-R BT.601)."""
    if pictures.shape[1] == 1:
        return pictures
    red, green, blue = pictures.split(1, 1)
    return 0.299 * red + 0.587 * green + 0.114 * blue
