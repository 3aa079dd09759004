from __future__ import annotations

from typing import Any

import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.example_inputs import example
from edgegan.compress.export import to_onnx
from edgegan.compress.rewrite import fold_batch_norm, rewrite, trace
from edgegan.runtime.contract import Contract, Input, Output


class Overlapped(nn.Module):
    """Patches of a picture, each with a weight of its own, laid over each other again."""

    def __init__(self, size: tuple[int, int], **how: Any) -> None:
        super().__init__()
        self.size, self.how = size, how
        count = F.unfold(torch.zeros(1, 1, *size), **how).shape[1:]
        self.weight = nn.Parameter(torch.randn(1, *count), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        patches = F.unfold(x, **self.how)
        folded = F.fold(patches * self.weight.repeat(1, x.shape[1], 1), self.size, **self.how)
        return folded / (1 + F.fold(self.weight[0].square(), self.size, **self.how))


class Permuted(nn.Module):
    """Einsums of one tensor, which permute or sum, and one of two, which is a product."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("nc h w -> nwch", x)
        sums = torch.einsum("nwch->hn", y)
        return torch.einsum("nwch,hn->nchw", y, sums)


class Projected(nn.Module):
    """Recurrent layers that give less than they hold, and their last states."""

    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 12, proj_size=3, batch_first=True, **how)

    def forward(self, x: Tensor) -> Tensor:
        y, (last, memory) = self.rnn(x)
        return (y.repeat(1, 1, 2)[..., :6] + last.sum(0).repeat(1, 2)[:, None]) * memory[-1, :, None, :6]


class Largest(nn.Module):
    """The largest of each of so many windows, beside what they were found in."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.pool = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)[len(sizes) - 1](sizes)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.pool(x), x.shape[2:]) + x


class Solved(nn.Module):
    """Weights by linear algebra, as flows that are run backwards have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(6) + 0.1 * torch.randn(6, 6), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        whole = torch.linalg.qr(self.weight)[0] @ torch.linalg.svd(self.weight)[2]
        return x @ self.weight.inverse() @ whole * torch.linalg.det(self.weight)


class Seen(nn.Module):
    """What is left of light at each depth."""

    def forward(self, x: Tensor) -> Tensor:
        left = torch.cumprod(1 - x.sigmoid(), -1)
        return left * torch.cumprod(x.tanh(), 1)


CASES = [
    (Seen(), (4, 11)),
    (Solved(), (5, 6)),
    (Largest(5), (3, 15)),
    (Largest(1, 1), (3, 9, 14)),
    (Largest(3, 7), (3, 9, 14)),
    (Largest(4, 9), (3, 9, 14)),
    (Largest(2, 3, 4), (3, 4, 6, 9)),
    (Projected(), (7, 6)),
    (Projected(bidirectional=True, num_layers=2), (7, 6)),
    (Projected(num_layers=3, bias=False), (7, 6)),
    (Overlapped((9, 14), kernel_size=(4, 6), stride=(2, 3)), (3, 9, 14)),
    (Overlapped((10, 7), kernel_size=3, dilation=2, padding=1, stride=1), (2, 10, 7)),
    (Overlapped((8, 11), kernel_size=(2, 3), dilation=(1, 3), padding=(0, 2), stride=(3, 4)), (2, 8, 11)),
    (Overlapped((1, 37), kernel_size=(1, 16), stride=(1, 4)), (1, 1, 37)),
    (Permuted(), (3, 4, 5)),
]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("module", "shape"), CASES)
def test_what_engines_lack_is_written_in_what_they_have(module: nn.Module, shape: tuple[int, ...]) -> None:
    contract = Contract((Input("x", shape),), (Output("y", shape, layout=""),))
    graph = trace(module.eval(), contract)
    for count in (1, 3):
        given = example(contract, count, count)
        torch.testing.assert_close(graph(*given), module(*given), rtol=1e-5, atol=1e-5)
    file = to_onnx(graph, contract)
    session = ort.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        given = example(contract, count, count)
        found = torch.from_numpy(session.run(None, {"x": given[0].numpy()})[0])
        torch.testing.assert_close(found, module(*given), rtol=1e-4, atol=1e-5)
    nodes = file.graph.node
    assert "Col2Im" not in {node.op_type for node in nodes}
    assert all(len(node.input) == 2 for node in nodes if node.op_type == "Einsum")


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("affine", [True, False])
def test_an_instance_norm_of_tracked_statistics_is_folded(axes: int, affine: bool) -> None:
    torch.manual_seed(axes)
    kinds = {
        1: (nn.Conv1d, nn.InstanceNorm1d),
        2: (nn.Conv2d, nn.InstanceNorm2d),
        3: (nn.Conv3d, nn.InstanceNorm3d),
    }
    conv, norm = kinds[axes]
    size = (6, 5, 7)[:axes]
    module = nn.Sequential(
        conv(3, 8, 3, padding=1), norm(8, affine=affine, track_running_stats=True), nn.ReLU(), conv(8, 3, 1),
        norm(3),
    )  # fmt: skip
    for _ in range(3):
        module(torch.randn(4, 3, *size) * 3 + 1)
    contract = Contract((Input("x", (3, *size)),), (Output("y", (3, *size), layout=""),))
    _, changes = rewrite(module.eval().requires_grad_(False), contract, [fold_batch_norm])
    assert [change.detail for change in changes] == ["into 0"]
    operators = [node.op_type for node in to_onnx(trace(module, contract), contract).graph.node]
    assert operators.count("InstanceNormalization") == 1
