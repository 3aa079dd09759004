from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from edgegan.compress import strips


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 1, 1, 1), (2, 0, 2, 2), (3, 3, 1, 4)]
)
def test_strips_make_the_whole(
    monkeypatch: pytest.MonkeyPatch, axes: int, stride: int, padding: int, dilation: int, groups: int
) -> None:
    x = torch.randn(3, 4, *(11, 9, 10)[:axes], dtype=torch.float64)
    weight, bias = torch.randn(8, 4 // groups, *[3] * axes, dtype=torch.float64), torch.randn(8).double()
    conv: Any = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    expected = conv(x, weight, bias, stride, padding, dilation, groups)
    steps, ends, holes = ([of] * axes for of in (stride, padding, dilation))
    for room in (1, 40_000, strips.ROOM):
        monkeypatch.setattr(strips, "ROOM", room)
        torch.testing.assert_close(strips.convolve(x, weight, bias, steps, ends, holes, groups), expected)
