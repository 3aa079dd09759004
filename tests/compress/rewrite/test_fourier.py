"""Complex numbers as pairs, and Fourier transforms as products of matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.example_inputs import example
from edgegan.compress.export import to_onnx
from edgegan.compress.rewrite import trace
from edgegan.compress.written import write
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

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
            fft.irfft(half * fft.rfft(x, 3, dim=1, **n)[:, :1], 2 * x.shape[1] + 3, dim=1, **n)[
                :, : x.shape[1]
            ],
            fft.fft(x, x.shape[2] + 5, dim=2, **n).abs()[:, :, 5:],
        ]
        return torch.stack(found, 1)


@pytest.mark.parametrize(
    ("norm", "shape"), [("ortho", (5, 6, 7)), ("backward", (8, 5, 6)), ("forward", (4, 7, 9))]
)
def test_they_come_out_alike_in_real_numbers(norm: str, shape: tuple[int, ...]) -> None:
    contract = Contract((Input("x", shape),), (Output("y", (11, *shape), layout=""),))
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


class OfAnyLength(nn.Module):
    """A spectrogram's size changed, and back to as many samples as there were, or to as many as come."""

    def __init__(self, whole: bool, **how: Any) -> None:
        super().__init__()
        self.whole, self.how = whole, how
        self.register_buffer("window", torch.hann_window(12) + 0.1)

    def forward(self, x: Tensor) -> Tensor:
        how = {"n_fft": 16, "hop_length": 4, "win_length": 12, "window": self.window, **self.how}
        found = torch.stft(x, return_complex=True, **how)
        length = x.shape[-1] if self.whole else None
        return torch.istft(torch.polar(found.abs().sqrt(), found.angle()) * 2, length=length, **how)


@pytest.mark.parametrize(("whole", "normalized"), [(True, False), (False, True)])
def test_short_time_transforms_of_any_length_are_convolutions(
    tmp_path: Path, whole: bool, normalized: bool
) -> None:
    size = {"nominal": 64, "min": 32, "multiple": 4}
    contract = Contract.from_dict(
        {
            "sizes": {"T": size},
            "inputs": [{"name": "x", "shape": ["T"]}],
            "outputs": [{"name": "y", "shape": ["T"], "layout": ""}],
        }
    )
    network = OfAnyLength(whole, normalized=normalized)
    graph = trace(network, contract)
    assert not any("stft" in str(node.target) for node in graph.graph.nodes)
    to_file = tmp_path / "model.onnx"
    write(to_onnx(graph, contract), contract, to_file, "fp32", False)
    for length in (64, 32, 108):
        (x,) = example(contract.at({"T": length}), 3, 0)
        torch.testing.assert_close(graph(x), network(x), rtol=1e-3, atol=1e-4)
        with OnnxRuntimeEngine(to_file, threads=1) as engine:
            made = torch.from_numpy(engine({"x": x.numpy()})["y"])
        torch.testing.assert_close(made, network(x), rtol=1e-3, atol=1e-4)


class StateSpace(nn.Module):
    """A filter that follows from complex weights alone (Gu et al. 2022, arXiv:2206.11893), and products of
    what is complex with what a sample has a say in."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(6, 4, dtype=torch.cfloat))
        self.w, self.b = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(6, 2))

    def forward(self, x: Tensor) -> Tensor:
        kernel = (torch.exp(self.a.unsqueeze(-1) * torch.arange(8)) / self.a[:, :, None]).sum(1).real
        f = fft.fft(x)
        mixed = torch.einsum("nc,cd->nd", f[:, :6], self.a) * (1 - 2j) + self.b.sum()
        ratio = f / (f.abs() + 1) / (f[:, :1] + 3j)
        halves = ratio.split(4, 1)
        summed = (1 - f).cumsum(1) @ torch.complex(self.w, self.w.t())
        wider = f[:, :1] + x
        whole = torch.view_as_complex(torch.stack([x, 2 * x], -1))
        found = [
            x * kernel[0],
            mixed.real,
            mixed.imag,
            (halves[0] * halves[1]).abs(),
            summed.real,
            wider.real,
        ]
        found += [wider.imag, wider.mean(1, keepdim=True).real, (whole + 1).reciprocal().real]
        return torch.cat(found, 1)


def test_arithmetic_on_complex_numbers_comes_out_alike() -> None:
    torch.manual_seed(0)
    network = StateSpace().eval()
    contract = Contract((Input("x", (8,)),), (Output("y", (53,), layout=""),))
    graph = trace(network, contract)
    for n in (1, 3):
        (x,) = example(contract, n, 0)
        torch.testing.assert_close(graph(x), network(x), rtol=1e-3, atol=1e-4)
    values: list[Any] = [node.meta.get("val") for node in graph.graph.nodes]
    assert not any(value.is_complex() for value in values if isinstance(value, Tensor))
    assert not any(node.target == torch.ops.aten.exp.default for node in graph.graph.nodes)


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(fft.fft(x)).real


def test_what_cannot_be_written_so_is_left_alone() -> None:
    contract = Contract((Input("x", (6,)),), (Output("y", (6,), layout=""),))
    graph = trace(Unknown(), contract)
    (x,) = example(contract, 2, 0)
    assert torch.equal(graph(x), Unknown()(x))
