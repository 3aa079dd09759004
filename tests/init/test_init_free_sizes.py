"""Which sizes init finds free, and what outputs follow from them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgegan.errors import InputError
from edgegan.init.free_sizes import free_sizes
from edgegan.init.from_examples import describe
from edgegan.init.inputs import Guess
from edgegan.runtime.sizes import read_sizes


class Fixed(nn.Module):
    """Takes one size alone."""

    def forward(self, x: Any) -> Any:
        return x + torch.zeros(64, 64)


class Windows(nn.Module):
    """Pads to a multiple of 4, and gives that."""

    def forward(self, x: Any) -> Any:
        return F.pad(x, (0, -x.shape[3] % 4, 0, -x.shape[2] % 4))


class Short(nn.Module):
    """Takes up to 96 positions."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Embedding(96, 8)

    def forward(self, x: Any) -> Any:
        return x + self.places(torch.arange(x.shape[1]))


class Hops(nn.Sequential):
    """Goes there and back in hops of 10, of which four lengths by chance are a multiple of 32 each."""

    def __init__(self) -> None:
        super().__init__(nn.Conv1d(1, 4, 20, 10, padding=5), nn.ConvTranspose1d(4, 1, 20, 10, padding=5))


class Narrow(nn.Module):
    """Takes from 32 to 60 positions."""

    def forward(self, x: Any) -> Any:
        if not 32 <= x.shape[1] <= 60:
            raise ValueError("from 32 to 60")
        return x * 2


class Guided(nn.Module):
    """Four times as large, by a hint of a quarter of the size; less 4, with two outputs."""

    def forward(self, image: Any, hint: Any) -> Any:
        near = F.interpolate(hint, scale_factor=4.0)
        large = F.interpolate(image + near, scale_factor=4.0)
        return large, large[:, :, 2:-2, 2:-2]


class Hinted(nn.Module):
    """Takes a hint of any size, which is of a quarter here."""

    def forward(self, image: Any, hint: Any) -> Any:
        return image + F.interpolate(hint, size=image.shape[2:])


PICTURE = Guess("image", "picture", (3, 64, 64))


@pytest.mark.parametrize(
    ("network", "inputs", "sizes", "shapes"),
    [
        (Fixed(), [PICTURE], None, []),
        (nn.Conv2d(3, 4, 3), [PICTURE], {"nominal": 64, "min": 4}, [[4, "H-2", "W-2"]]),
        (nn.Conv2d(3, 4, 2, 2), [PICTURE], {"nominal": 64, "min": 4, "multiple": 2}, [[4, "H/2", "W/2"]]),
        (Windows(), [PICTURE], {"nominal": 64, "min": 4, "multiple": 4}, [[3, "H", "W"]]),
        (Short(), [Guess("x", "sequence", (32, 8))], {"nominal": 32, "min": 4, "max": 64}, [["T", 8]]),
        (Narrow(), [Guess("x", "sequence", (32, 8))], {"nominal": 32, "min": 32, "max": 35}, [["T", 8]]),
        (
            nn.Conv1d(1, 2, 8, 4, padding=2),
            [Guess("wav", "signal", (1, 8192))],
            {"nominal": 8192, "min": 4, "multiple": 4, "max": 32768},
            [[2, "T/4"]],
        ),
        (Hops(), [Guess("wav", "signal", (1, 8192))], None, []),
        (
            Guided(),
            [PICTURE, Guess("hint", "picture", (3, 16, 16))],
            {"nominal": 64, "min": 4, "multiple": 4},
            [[3, "4*H", "4*W"], [3, "4*H-4", "4*W-4"]],
        ),
        (
            Hinted(),
            [PICTURE, Guess("hint", "picture", (3, 16, 16))],
            {"nominal": 64, "min": 4, "multiple": 4},
            [[3, "H", "W"]],
        ),
    ],
)
def test_free_sizes_are_found_with_what_follows_from_them(
    network: nn.Module, inputs: list[Guess], sizes: dict[str, int] | None, shapes: list[list[int | str]]
) -> None:
    paths = [("0",), ("1",)][: len(shapes)] if len(shapes) > 1 else [()]

    found = free_sizes(network.eval(), inputs, paths)

    assert (found and set(map(str, found.sizes.values()))) == (sizes and {str(sizes)})
    assert (list(found.outputs.values()) if found else []) == shapes
    assert not found or read_sizes(found.sizes)
    if len(inputs) > 1:
        assert found is not None
        assert found.inputs["hint"] == [3, "H/4", "W/4"]


class Spectral(nn.Module):
    """Filters a series in its spectrum, by transforms of all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: Any) -> Any:
        length = x.shape[-1]
        found = torch.fft.rfft(self.conv(x), n=2 * length)
        return torch.fft.irfft(found * torch.exp(1j * found.abs()), n=2 * length)[..., :length]


def test_sizes_that_no_file_can_have_free_are_not_taken_for_free() -> None:
    series = [torch.randn(4, 1, 64), torch.randn(4, 1, 96)]
    with pytest.raises(InputError, match=r"several sizes.*fixed once it is traced.*cannot be exported"):
        describe(Spectral().eval(), {"x": series}, None)
