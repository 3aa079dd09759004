from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgegan.compress.rewrite import batch_norm_to_affine, fold_batch_norm, rewrite, tabulate_conditional_norm
from edgegan.models.resnet import ConditionalBatchNorm2d, Generator
from edgegan.runtime.contract import Contract, Input, Output, Sample

CLASSES = 7
LABEL = Input("label", (), "int64", Sample("labels", classes=CLASSES))


def contract(*shape: int, label: bool = False) -> Contract:
    return Contract((Input("x", shape), *([LABEL] if label else [])), (Output("y", (1,), layout=""),))


def with_statistics(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(generator=generator)
            layer.running_var.uniform_(0.2, 3, generator=generator)
        for name, parameter in layer.named_parameters(recurse=False):
            if "weight" not in name or isinstance(layer, (nn.modules.batchnorm._BatchNorm, nn.Embedding)):
                nn.init.normal_(parameter, 0.3, 1.0, generator=generator)
    return module.eval()


def count(graph: torch.fx.GraphModule, operator: str) -> int:
    return sum(str(node.target) == f"aten.{operator}" for node in graph.graph.nodes)


LAYERS = [
    (lambda bias: nn.Conv1d(4, 6, 3, bias=bias), nn.BatchNorm1d, (4, 8)),
    (lambda bias: nn.Conv2d(4, 6, 3, padding=1, bias=bias), nn.BatchNorm2d, (4, 5, 5)),
    (lambda bias: nn.Conv2d(4, 6, 3, padding="same", groups=2, bias=bias), nn.BatchNorm2d, (4, 5, 5)),
    (lambda bias: nn.ConvTranspose1d(4, 6, 4, 2, bias=bias), nn.BatchNorm1d, (4, 8)),
    (lambda bias: nn.ConvTranspose2d(4, 6, 4, 2, 1, bias=bias), nn.BatchNorm2d, (4, 5, 5)),
    (lambda bias: nn.ConvTranspose2d(4, 6, 3, 2, groups=2, bias=bias), nn.BatchNorm2d, (4, 5, 5)),
    (lambda bias: nn.Linear(4, 6, bias=bias), nn.BatchNorm1d, (4,)),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("layer", "norm", "shape"), LAYERS)
def test_folding_leaves_no_norm_and_the_same_outputs(layer, norm, shape, affine: bool, bias: bool) -> None:
    module = with_statistics(nn.Sequential(layer(bias), norm(6, eps=0.3, affine=affine)))
    rewritten, changes = rewrite(module, contract(*shape), [fold_batch_norm])
    assert [(change.layer, change.detail) for change in changes] == [("1", "into 0")]
    assert count(rewritten, "batch_norm.default") == 0
    x = torch.randn(3, *shape)
    torch.testing.assert_close(rewritten(x), module(x), rtol=1e-5, atol=1e-5)


def test_a_reshape_of_linear_features_may_lie_between() -> None:
    module = nn.Sequential(nn.Linear(5, 24), nn.Unflatten(1, (6, 2, 2)), nn.BatchNorm2d(6))
    rewritten, changes = rewrite(with_statistics(module), contract(5), [fold_batch_norm])
    assert len(changes) == 1
    x = torch.randn(3, 5)
    torch.testing.assert_close(rewritten(x), module(x), rtol=1e-5, atol=1e-5)


def test_a_layer_with_another_reader_keeps_its_norm() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.norm(y) + y

    assert rewrite(with_statistics(Fork()), contract(3, 4, 4), [fold_batch_norm])[1] == []


def test_a_norm_over_another_axis_is_left_alone() -> None:
    module = with_statistics(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(5)))
    assert rewrite(module, contract(5, 4), [fold_batch_norm])[1] == []


def test_two_norms_after_one_layer_are_both_folded() -> None:
    module = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)))
    rewritten, _ = rewrite(module, contract(3, 4, 4), [fold_batch_norm])
    assert count(rewritten, "batch_norm.default") == 0


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**16))
def test_conditional_norm_is_one_multiply_and_one_add(width: int, seed: int) -> None:
    module = with_statistics(ConditionalBatchNorm2d(width, CLASSES), seed)
    rewritten, changes = rewrite(module, contract(width, 3, 3, label=True), [tabulate_conditional_norm])
    assert len(changes) == 1
    names = [str(node.target) for node in rewritten.graph.nodes if node.op == "call_function"]
    assert sorted(names) == ["aten.add.Tensor", *["aten.index_select.default"] * 2, "aten.mul.Tensor"]
    x, label = torch.randn(9, width, 3, 3), torch.randint(CLASSES, (9,))
    torch.testing.assert_close(rewritten(x, label), module(x, label), rtol=1e-4, atol=1e-5)


class Chunked(nn.Module):
    """The other common form: one embedding of gain and bias, gain around one, affine norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.embedding = nn.Embedding(CLASSES, 8)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        gain, bias = self.embedding(label).chunk(2, dim=1)
        return (1 + gain[..., None, None]) * self.norm(x) + bias.view(-1, 4, 1, 1)


def test_a_chunked_embedding_around_one_is_tabulated_too() -> None:
    module = with_statistics(Chunked())
    rewritten, changes = rewrite(module, contract(4, 3, 3, label=True), [tabulate_conditional_norm])
    assert len(changes) == 1
    assert count(rewritten, "batch_norm.default") == 0
    x, label = torch.randn(9, 4, 3, 3), torch.randint(CLASSES, (9,))
    torch.testing.assert_close(rewritten(x, label), module(x, label), rtol=1e-4, atol=1e-5)


def test_tables_larger_than_what_they_replace_are_not_made() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.embedding = nn.BatchNorm2d(64), nn.Embedding(CLASSES, 2)
            self.gain, self.bias = nn.Linear(2, 64), nn.Linear(2, 64)

        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            code = self.embedding(label)
            gain, bias = self.gain(code)[..., None, None], self.bias(code)[..., None, None]
            return self.norm(x) * gain + bias

    module = with_statistics(Shared())
    assert rewrite(module, contract(64, 3, 3, label=True), [tabulate_conditional_norm])[1] == []


class Arithmetic(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.conv, self.gain = nn.Conv2d(3, 4, 3), nn.Parameter(torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 + self.gain * (self.conv(x) * 0.1)


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (1,), ()])
def test_constants_that_multiply_and_add_are_folded_too(shape: tuple[int, ...]) -> None:
    module = Arithmetic(*shape)
    rewritten, changes = rewrite(module, contract(3, 6, 6), [fold_batch_norm])
    assert [change.detail for change in changes] == ["into conv"]
    assert [count(rewritten, name) for name in ("conv2d.default", "mul.Tensor", "add.Tensor")] == [1, 0, 0]
    x = torch.randn(3, 3, 6, 6)
    torch.testing.assert_close(rewritten(x), module(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (1, 1, 4, 4), (5, 1, 4, 1, 1)])
def test_constants_that_differ_within_a_channel_stay(shape: tuple[int, ...]) -> None:
    rewritten, _ = rewrite(Arithmetic(*shape), contract(3, 6, 6), [fold_batch_norm])
    assert count(rewritten, "mul.Tensor") == count(rewritten, "add.Tensor") == 1


def test_a_norm_that_cannot_be_folded_is_a_multiply_and_an_add() -> None:
    module = with_statistics(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4, eps=0.2), nn.ReLU()))
    rewritten, changes = rewrite(module, contract(4, 3, 3), [batch_norm_to_affine])
    assert [change.layer for change in changes] == ["1"]
    assert count(rewritten, "batch_norm.default") == 0
    x = torch.randn(5, 4, 3, 3)
    torch.testing.assert_close(rewritten(x), module(x), rtol=1e-5, atol=1e-6)


def test_the_reference_generator_keeps_its_outputs() -> None:
    module = with_statistics(Generator((8, 8, 4), latent=5, classes=CLASSES))
    ports = Contract((Input("z", (5,)), LABEL), (Output("image", (3, 16, 16)),))
    rewritten, changes = rewrite(module, ports, [fold_batch_norm, tabulate_conditional_norm])
    assert sorted(change.rewrite for change in changes) == [
        *["fold_batch_norm"] * 2,
        *["tabulate_conditional_norm"] * 4,
    ]
    z, label = torch.randn(6, 5), torch.randint(CLASSES, (6,))
    torch.testing.assert_close(rewritten(z, label), module(z, label), rtol=0, atol=2e-5)
