"""Convolutional GAN of short clips, whose frames are channels: what moves is made and judged in one piece.

Vondrick et al. 2016 (arXiv:1609.02612) convolve over time as well. A clip of few frames does without: a
two-dimensional network gives all of them at once, at the cost of a picture, and runs on every engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from edgegan.models import dcgan


class Generator(dcgan.Generator):
    """Maps z (N, latent), standard normal, to clips (N, frames, channels, S, S) in [-1, 1]; see `dcgan`."""

    def __init__(
        self,
        widths: Sequence[int] = (128, 96, 64, 48),
        latent: int = 64,
        frames: int = 8,
        channels: int = 1,
        first: int = 4,
    ) -> None:
        super().__init__(widths, latent, frames * channels, first)
        self.frame = frames, channels

    def forward(self, z: Tensor) -> Tensor:
        """Return the clips."""
        return super().forward(z).unflatten(1, self.frame)


class Discriminator(dcgan.Discriminator):
    """Clips (N, frames, channels, size, size) to scores (N,)."""

    def __init__(
        self, widths: Sequence[int] = (48, 96, 128), frames: int = 8, channels: int = 1, size: int = 32
    ) -> None:
        super().__init__(widths, frames * channels, size)

    def forward(self, clip: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the scores (N,): higher is more real."""
        return super().forward(clip.flatten(1, 2))
