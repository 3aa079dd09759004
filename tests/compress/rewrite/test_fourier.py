"""Complex numbers as pairs, and Fourier transforms as products of matrices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.example_inputs import example
from edgegan.compress.rewrite import trace
from edgegan.runtime.contract import Contract, Input, Output

fft = torch.fft


class Transforms(nn.Module):
    """There, something complex in between, and back; along one axis or several, in every norm."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        n = {"norm": self.norm}
        half = fft.rfft(x, dim=1, **n)
        found = [
            fft.irfft(half * (0.5 + 2j), x.shape[1], dim=1, **n),
            fft.irfft(half.abs() * torch.exp(1j * half.angle()), x.shape[1], dim=1, **n),
            fft.irfft2(fft.rfft2(x, **n) - 1j, s=x.shape[-2:], **n),
            fft.irfftn(fft.rfftn(x, dim=(1, 3), **n).conj(), s=(x.shape[1], x.shape[3]), dim=(1, 3), **n),
            fft.ifft2(fft.fft2(x, **n) * fft.fft2(x.flip(-1), **n), **n).real,
            fft.ifft(torch.complex(x, x.roll(1, 2)), dim=2, **n).imag,
            fft.fftn(x, dim=(-1, -3), **n).transpose(1, 2).permute(0, 2, 1, 3).imag,
            torch.view_as_real(fft.fft(x, dim=-1, **n)).sum(-1),
            (torch.polar(x.exp(), x) / 3).real,
        ]
        return torch.stack(found, 1)


@pytest.mark.parametrize(
    ("norm", "shape"), [("ortho", (5, 6, 7)), ("backward", (8, 5, 6)), ("forward", (4, 7, 9))]
)
def test_they_come_out_alike_in_real_numbers(norm: str, shape: tuple[int, ...]) -> None:
    contract = Contract((Input("x", shape),), (Output("y", (9, *shape), layout=""),))
    module = Transforms(norm)
    graph = trace(module, contract)
    for n in (1, 3):
        (x,) = example(contract, n, 0)
        torch.testing.assert_close(graph(x), module(x), rtol=1e-4, atol=1e-4 * float(module(x).abs().max()))
    values: list[Any] = [node.meta.get("val") for node in graph.graph.nodes]
    assert not any(value.is_complex() for value in values if isinstance(value, Tensor))
    assert not any("fft" in str(node.target) for node in graph.graph.nodes if node.op == "call_function")


class Frames(nn.Module):
    """To frames, something complex in between, and back."""

    def __init__(self, size: int, hop: int, length: int | None, **how: Any) -> None:
        super().__init__()
        self.size, self.hop, self.length, self.how = size, hop, length, how
        self.register_buffer("window", torch.hann_window(how.get("win_length", size)) + 0.1)

    def forward(self, x: Tensor) -> Tensor:
        how = {**self.how, "window": self.window}
        found = torch.stft(x, self.size, self.hop, return_complex=True, **how)
        phase = torch.exp(1j * torch.angle(found))
        return torch.istft(found.abs().sqrt() * phase + 0.1, self.size, self.hop, length=self.length, **how)


@pytest.mark.parametrize(
    ("network", "length"),
    [
        (Frames(64, 16, None), 320),
        (Frames(50, 15, 300, normalized=True), 310),
        (Frames(32, 8, None, win_length=24), 250),
    ],
)
def test_short_time_transforms_come_out_alike(network: Frames, length: int) -> None:
    x = torch.randn(2, length, generator=torch.Generator().manual_seed(0))
    expected = network(x)
    contract = Contract((Input("x", (length,)),), (Output("y", tuple(expected.shape[1:]), layout=""),))
    graph = trace(network, contract)
    torch.testing.assert_close(graph(x), expected, rtol=1e-3, atol=1e-4)
    assert not any("stft" in str(node.target) for node in graph.graph.nodes)


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(fft.fft(x)).real


def test_what_cannot_be_written_so_is_left_alone() -> None:
    contract = Contract((Input("x", (6,)),), (Output("y", (6,), layout=""),))
    graph = trace(Unknown(), contract)
    (x,) = example(contract, 2, 0)
    assert torch.equal(graph(x), Unknown()(x))
