"""The levels of one tensor, as a module of the graph: what rounds it, in training and in the file."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgegan.compress.quantize.prepare.pt2e import FakeQuantizeBase

aten = torch.ops.aten


class Levels(FakeQuantizeBase):
    """Rounds a tensor to levels, once these are set; passes it on as it is until then.

    Gradients pass straight through inside the range. After `learn`, the scale follows them too (learned step
    size: Esser et al. 2020, arXiv:1902.08153).

    Args:
        dtype: `torch.uint8` or `torch.int8`.
        low: the lowest level.
        high: the highest level.
        axis: the axis of the channels where each has a scale of its own; None for one scale in all.
    """

    def __init__(self, dtype: torch.dtype, low: int, high: int, axis: int | None = None, **_: object) -> None:
        super().__init__()
        self.dtype, self.quant_min, self.quant_max = dtype, low, high
        self.ch_axis = -1 if axis is None else axis
        self.qscheme = torch.per_tensor_affine if axis is None else torch.per_channel_symmetric
        self.per_channel = axis is not None
        self.active = True
        """Whether it rounds; off, it passes all on."""
        self.scale: Tensor
        self.register_buffer("scale", torch.zeros(0))
        self.register_buffer("zero_point", torch.zeros(0, dtype=torch.int64))
        self.log_scale: nn.Parameter | None
        self.register_parameter("log_scale", None)

    def set(self, scale: Tensor, zero_point: Tensor) -> None:
        """Set scale and zero point, both (1,) or (channels,)."""
        self.scale, self.zero_point = scale.detach().clone(), zero_point.long().clone()

    def learn(self) -> nn.Parameter:
        """Make the scale follow gradients; return its logarithm, the parameter behind it.

        The logarithm keeps scales positive, and lets one learning rate do for all of them.
        """
        self.log_scale = nn.Parameter(self.scale.detach().log())
        return self.log_scale

    def settle(self) -> None:
        """Keep the scale as it was learned."""
        self.scale, self.log_scale = self._scale().detach().clone(), None

    def _scale(self) -> Tensor:
        return self.scale if self.log_scale is None else self.log_scale.exp()

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return `x` rounded to the levels, of the same shape."""
        if not (self.active and len(self.scale)):
            return x
        low, high, scale = self.quant_min, self.quant_max, self._scale()
        if not scale.requires_grad:
            zeros = self.zero_point.int()
            if self.per_channel:
                return torch.fake_quantize_per_channel_affine(x, scale, zeros, self.ch_axis, low, high)
            return torch.fake_quantize_per_tensor_affine(x, scale, zeros, low, high)
        zero = self.zero_point.float()
        if self.per_channel:
            return aten._fake_quantize_learnable_per_channel_affine(
                x, scale, zero, self.ch_axis, low, high, 1.0
            )
        return aten._fake_quantize_learnable_per_tensor_affine(x, scale, zero, low, high, 1.0)

    def calculate_qparams(self, **_: object) -> tuple[Tensor, Tensor]:  # pyright: ignore
        """Return scale and zero point, both (1,) or (channels,)."""
        return self._scale().detach(), self.zero_point
