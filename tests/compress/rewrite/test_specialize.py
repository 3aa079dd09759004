from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from zoo import mnist_cwgangp

from edgegan.compress.cost import count
from edgegan.compress.example_inputs import example
from edgegan.compress.rewrite import (
    batch_norm_to_affine,
    fold_batch_norm,
    fold_constants,
    rewrite,
    with_fixed_input,
)
from edgegan.errors import InputError
from edgegan.models.resnet import Generator
from edgegan.runtime.contract import Contract, Input, Output, Sample

LABEL = Input("label", (), "int64", Sample("labels", classes=7))
CONTRACT = Contract((Input("z", (5,)), LABEL), (Output("image", (3, 16, 16)),))
STEPS = [fold_constants, fold_batch_norm, batch_norm_to_affine]


def operators(graph: torch.fx.GraphModule) -> list[str]:
    return [str(node.target).split(".")[1] for node in graph.graph.nodes if node.op == "call_function"]


def generator() -> Generator:
    torch.manual_seed(0)
    module = Generator((8, 8, 4), latent=5, classes=7)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.2, 3)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, 0.5, 1.0)
    return module.eval()


@pytest.mark.parametrize("label", [0, 3, np.int64(6)])
def test_one_class_has_no_label_and_no_conditional_norm(label: int) -> None:
    module = generator()
    fixed, ports = with_fixed_input(module, CONTRACT, "label", label)
    assert [spec.name for spec in ports.inputs] == ["z"]
    rewritten, changes = rewrite(fixed, ports, STEPS)
    names = operators(rewritten)
    assert not {"embedding", "batch_norm", "index_select", "expand"} & set(names)
    assert names.count("mul") == names.count("add") - 2 == 3
    folded = [change.layer for change in changes if change.rewrite == "fold_batch_norm"]
    assert folded == ["blocks.0.norm2.norm", "blocks.1.norm2.norm"]
    z = torch.randn(6, 5)
    for graph in (fixed, rewritten):
        expected = module(z, torch.full((6,), int(label)))
        torch.testing.assert_close(graph(z), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_label_beside_the_latent_goes_into_the_bias(shared: Path, batch: int) -> None:
    module, whole = mnist_cwgangp.load(shared), mnist_cwgangp.CONTRACT
    fixed, ports = with_fixed_input(module, whole, "label", 4)
    rewritten, _ = rewrite(fixed, ports, [fold_constants, fold_batch_norm])
    assert not {"embedding", "cat", "batch_norm"} & set(operators(rewritten))
    assert count(module, whole).params - count(rewritten, ports).params == 10 * 10 + 128 * 7 * 7 * 10 + 640
    (z,) = example(ports, batch, seed=5)
    expected = module(z, torch.full((batch,), 4))
    torch.testing.assert_close(rewritten(z), expected, rtol=0, atol=2e-5)


def test_a_fixed_latent_leaves_the_label() -> None:
    class Product(nn.Module):
        def forward(self, z: Tensor, label: Tensor) -> Tensor:
            rows = torch.cat([z, z * 2], dim=1).relu()
            return rows * label[:, None]

    z = np.arange(5) - 2
    fixed, ports = with_fixed_input(Product(), CONTRACT, "z", z)
    rewritten, changes = rewrite(fixed, ports, [fold_constants])
    assert [change.rewrite for change in changes] == ["fold_constants"]
    assert "cat" not in operators(rewritten)
    label = torch.tensor([1, 5, 2])
    torch.testing.assert_close(rewritten(label)[1], torch.tensor([0, 0, 0, 1, 2, 0, 0, 0, 2, 4]) * 5.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("class", 1, "no input 'class'"),
        ("label", 7, r"0\.\.6"),
        ("label", 1.5, "int64"),
        ("label", [1, 2], "shape"),
        ("z", [1.0, 2.0], "shape"),
        ("z", [float("nan")] * 5, "NaN"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_fixed_input(generator(), CONTRACT, name, value)


def test_the_only_input_cannot_be_fixed() -> None:
    ports = Contract((Input("z", (5,)),), CONTRACT.outputs)
    with pytest.raises(InputError, match="only input"):
        with_fixed_input(nn.Linear(5, 5), ports, "z", [0.0] * 5)
