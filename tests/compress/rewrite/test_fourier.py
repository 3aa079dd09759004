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


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(fft.fft(x)).real


def test_what_cannot_be_written_so_is_left_alone() -> None:
    contract = Contract((Input("x", (6,)),), (Output("y", (6,), layout=""),))
    graph = trace(Unknown(), contract)
    (x,) = example(contract, 2, 0)
    assert torch.equal(graph(x), Unknown()(x))
