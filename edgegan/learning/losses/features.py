"""Distances between feature maps: means over samples, so that equal shares of a batch average exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from edgegan.learning.taps import Tap


def perceptual(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
    """Return the mean over maps of |student - teacher| / |teacher|, each a mean over one sample's map.

    The maps are a discriminator's: feature matching (Salimans et al. 2016, arXiv:1606.03498; as relative L1
    distances: Wang et al. 2018, arXiv:1711.11585).
    """
    distances = []
    for name, theirs in teacher.items():
        axes = tuple(range(1, theirs.ndim))
        difference = (student[name] - theirs).abs().mean(axes, dtype=torch.float32)
        distances.append((difference / (theirs.abs().mean(axes, dtype=torch.float32) + 1e-6)).mean())
    return torch.stack(distances).mean()


class Adapters(nn.Module):
    """Linear maps over channels (1x1 convolutions) from the student's features to the teacher's (FitNets:
    Romero et al. 2015, arXiv:1412.6550; of GANs: Li et al. 2020, arXiv:2003.08936).

    They start as the least squares solution on one batch of features, which also fixes each tap's unit: the
    variance of the teacher's features.
    """

    def __init__(
        self, taps: Sequence[Tap], student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.maps = nn.ModuleList(nn.Linear(tap.student_width, tap.teacher_width) for tap in taps)
        self.units = []
        for tap, layer in zip(taps, self.maps):
            ours, theirs = _rows(student[tap.name], tap), _rows(teacher[tap.name], tap)
            self.units.append(1 / max(float(theirs.var(0).mean()), 1e-12))
            _solve(layer, ours, theirs)

    def forward(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
        """Return the mean over taps of the share of the teacher's variance that is not explained."""
        losses = []
        for tap, unit, layer in zip(self.taps, self.units, self.maps):
            ours = layer(student[tap.name].movedim(tap.channel_axis, -1))
            theirs = teacher[tap.name].movedim(tap.channel_axis, -1)
            losses.append((ours.float() - theirs.float()).square().mean() * unit)
        return torch.stack(losses).mean()


_ROWS = 16_384


def _rows(features: Tensor, tap: Tap) -> Tensor:
    rows = features.detach().movedim(tap.channel_axis, -1).flatten(0, -2).cpu().double()
    return rows[:: max(1, len(rows) // _ROWS)]


def _solve(layer: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    center, aim = inputs.mean(0), targets.mean(0)
    centered = inputs - center
    gram = centered.T @ centered
    ridge = torch.eye(len(gram), dtype=gram.dtype) * (1e-4 * float(gram.diagonal().mean()) + 1e-8)
    weight = torch.linalg.solve(gram + ridge, centered.T @ (targets - aim)).T
    with torch.no_grad():
        layer.get_parameter("weight").copy_(weight)
        layer.get_parameter("bias").copy_(aim - weight @ center)
