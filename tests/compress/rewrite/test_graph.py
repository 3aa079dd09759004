from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgegan.compress.export import to_onnx
from edgegan.compress.rewrite import Change, fold_batch_norm, rewrite, trace
from edgegan.compress.rewrite.graph import aten, constant
from edgegan.errors import ModelError, ProofError
from edgegan.runtime.contract import Contract, Input, Output

CONTRACT = Contract((Input("x", (3, 4, 4)),), (Output("y", (3, 4, 4)),))


def test_the_module_itself_is_not_changed() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).train()
    before = copy.deepcopy(module.state_dict())
    rewrite(module, CONTRACT, [fold_batch_norm])
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_wrong_rewrite_is_found_out() -> None:
    def wrong(graph: GraphModule, contract: Contract) -> list[Change]:
        for node in graph.graph.nodes:
            if node.target == aten.conv2d.default:
                weight = constant(graph, node.args[1])
                assert weight is not None
                weight.mul_(1.001)
        return [Change("wrong", "0", "")]

    with pytest.raises(ProofError, match="wrong"):
        rewrite(nn.Sequential(nn.Conv2d(3, 3, 1)), CONTRACT, [wrong])


def test_the_batch_axis_stays_free() -> None:
    graph, _ = rewrite(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), CONTRACT, [fold_batch_norm])
    assert [graph(torch.zeros(n, 3, 4, 4)).shape[0] for n in (1, 2, 5)] == [1, 2, 5]


class Lengths(nn.Module):
    """Takes the batch and its list of layers by `len`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for index in range(len(self.layers)):
            x = self.layers[index](x)
        return x.reshape(len(x), -1).view(len(x), 3, 4, 4)


def test_the_length_of_a_tensor_is_its_batch() -> None:
    module = Lengths().eval()
    graph, _ = rewrite(module, CONTRACT, [])
    for n in (1, 5):
        x = torch.randn(n, 3, 4, 4)
        assert torch.equal(graph(x), module(x))
    assert "len" not in globals()


def back_from_windows(windows: Tensor, size: int, height: int, width: int) -> Tensor:
    batch = int(windows.shape[0] / (height * width / size / size))
    x = windows.view(batch, height // size, width // size, -1, size, size)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, height, width)


class Windows(nn.Module):
    """Works on windows, and finds the batch by how many there are, as Swin transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        assert isinstance(c, int)
        assert not isinstance(0.5, int)
        assert int("3", 4) == 3
        windows = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 4)
        return back_from_windows(self.mix(windows), 2, h, w)


@pytest.mark.parametrize("free", [False, True])
def test_the_batch_that_int_makes_of_windows_stays_free(free: bool) -> None:
    module = Windows().eval()
    size = {"nominal": 4, "min": 4, "multiple": 2}
    picture = [3, "H", "W"] if free else [3, 4, 4]
    contract = Contract.from_dict(
        {
            **({"sizes": {"H": size, "W": size}} if free else {}),
            "inputs": [{"name": "x", "shape": picture}],
            "outputs": [{"name": "y", "shape": picture}],
        }
    )
    graph, _ = rewrite(module, contract, [])
    for n, h, w in ((1, 4, 4), (5, 4, 4), (3, 6, 10) if free else (2, 4, 4)):
        x = torch.randn(n, 3, h, w)
        torch.testing.assert_close(graph(x), module(x))
    assert "int" not in globals()


def test_idle_dropout_does_not_stand_between_layers() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(), nn.BatchNorm2d(3), nn.Dropout2d(), nn.ReLU())
    graph, _ = rewrite(module, CONTRACT, [fold_batch_norm])
    names = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert names == ["aten.conv2d.default", "aten.relu.default"]


def test_a_module_that_cannot_be_traced_is_a_users_error() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ModelError, match="cannot be traced"):
        rewrite(Branch(), CONTRACT, [])


def test_what_draws_random_numbers_is_told_from_a_wrong_rewrite() -> None:
    class Noisy(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + torch.randn_like(input)

    module = Noisy(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval()
    with pytest.raises(ModelError, match="the same input gives another output"):
        rewrite(module, CONTRACT, [fold_batch_norm])


class Nearest(nn.Module):
    """Moves points by the last of those that are nearest to each: which that is, last bits decide."""

    def __init__(self) -> None:
        super().__init__()
        self.points, self.norm = nn.Linear(8, 3 * 300), nn.BatchNorm1d(3 * 300)
        assert self.norm.running_mean is not None
        self.norm.running_mean.fill_(30.0)

    def forward(self, z: Tensor) -> Tensor:
        points = self.norm(self.points(z)).view(-1, 300, 3) * 1e-2
        far = torch.cdist(points, points, compute_mode="use_mm_for_euclid_dist")
        near = far.topk(6, largest=False).indices
        rows = torch.gather(points[:, None].expand(-1, 300, -1, -1), 2, near[..., None].expand(-1, -1, -1, 3))
        return points + rows[:, :, -1]


def test_what_last_bits_decide_is_no_wrong_rewrite() -> None:
    torch.manual_seed(0)
    contract = Contract((Input("z", (8,)),), (Output("points", (300, 3), layout=""),))
    _, made = rewrite(Nearest().eval(), contract, [fold_batch_norm])
    assert made[0].layer == "norm"


def test_the_order_of_a_product_of_many_does_not_fix_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Orders:
        """Looks at sizes as numbers, as opt_einsum does where it is installed."""

        @staticmethod
        def contract_path(equation: str, *operands: Tensor, optimize: Any) -> Any:
            return [(0, 1) for operand in operands[1:] if len(range(operand.shape[0]))], None

    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("bchw,bcij,bckl->bchl", x, x, x)

    monkeypatch.setattr("torch.backends.opt_einsum.m.is_available", lambda: True)
    monkeypatch.setattr("torch.backends.opt_einsum.m._opt_einsum", Orders)
    with torch.backends.opt_einsum.flags(enabled=True):
        file = to_onnx(trace(Product().eval(), CONTRACT), CONTRACT)
    assert file.graph.input[0].type.tensor_type.shape.dim[0].dim_param
