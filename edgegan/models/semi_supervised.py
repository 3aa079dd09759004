"""A discriminator that is a classifier too, of K classes and one of generated images (SGAN: Odena 2016,
arXiv:1606.01583); its generator is any, as DCGAN's.

The class of generated images has the constant logit 0 (Salimans et al. 2016, arXiv:1606.03498, section 5), so
that the logarithm of the odds that an image is real is the log-sum-exp of the others: the score.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgegan.models import dcgan


class Discriminator(dcgan.Discriminator):
    """Images (N, channels, size, size) to scores (N,), and by `classify` to the logits (N, classes)."""

    def __init__(
        self,
        widths: Sequence[int] = (48, 96, 128),
        classes: int = 10,
        channels: int = 1,
        size: int = 28,
    ) -> None:
        super().__init__(widths, channels, size, spectral=False)
        self.head = nn.Linear(self.features, classes)
        self.dropout = nn.Dropout(0.3)

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores (N,): higher is more real."""
        return torch.logsumexp(self.classify(image), 1)

    def classify(self, image: Tensor) -> Tensor:
        """Return the logits (N, classes) of the classes."""
        return self.head(self.dropout(self.body(image)))
