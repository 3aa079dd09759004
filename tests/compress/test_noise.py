"""Random numbers drawn inside forward, and what the recipe puts in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress import noise
from edgegan.compress.generator import Form, adapt, load_generator
from edgegan.compress.rewrite import trace
from edgegan.errors import ModelError
from edgegan.recipe import ModelSpec
from edgegan.runtime.contract import Contract, Input, Output, Sample

MODEL = """
import torch
from torch import nn
from torch.nn import functional as F

class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 3, 1)

    def forward(self, x, strength=0.0):
        y = self.a(x)
        y = y + strength * y.new_empty(y.shape[0], 1, 8, 8).normal_(0.5, 2.0)
        return self.b(F.dropout(y, 0.25, training=True))
"""
PICTURE = Input("x", (4, 8, 8))
OUTPUT = Output("y", (3, 8, 8), layout="")
DRAWN = (Input("n", (1, 8, 8)), Input("u", (8, 8, 8), sample=Sample("uniform", 0.0, 1.0)))


def loaded(folder: Path, contract: Contract, **spec: Any) -> nn.Module:
    (folder / "model.py").write_text(MODEL)
    made: dict[str, Any] = {}
    exec(MODEL, made)
    torch.manual_seed(0)
    torch.save(made["Noisy"]().state_dict(), folder / "g.pt")
    model = ModelSpec(callable="model.py:Noisy", checkpoint="g.pt", call={"strength": 0.5}, **spec)
    return load_generator(model, contract, folder)[0]


def test_noise_and_dropout_become_inputs_by_name(tmp_path: Path) -> None:
    contract = Contract((DRAWN[1], PICTURE, DRAWN[0]), (OUTPUT,))
    module = loaded(tmp_path, contract, noise=("n", "u"))
    mask, x, normal = (torch.from_numpy(value) for value in contract.sample(3, 0).values())
    hidden = module.a(x) + 0.5 * (2.0 * normal + 0.5)  # pyright: ignore[reportCallIssue]
    expected = module.b(hidden * (mask >= 0.25) / 0.75)  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(module(mask, x, normal), expected)
    torch.testing.assert_close(trace(module, contract)(mask, x, normal), expected)


@pytest.mark.parametrize("choice", ["fixed", "mean"])
def test_what_is_fixed_is_the_same_for_each_run_and_each_row(choice: Any, tmp_path: Path) -> None:
    contract = Contract((PICTURE,), (OUTPUT,))
    module = loaded(tmp_path, contract, noise=choice)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    once = module(x)
    assert torch.equal(module(x), once)
    torch.testing.assert_close(module(x.expand(5, -1, -1, -1)), once.expand(5, -1, -1, -1))
    torch.testing.assert_close(trace(module, contract)(x), once)
    if choice == "mean":
        torch.testing.assert_close(once, module.b(module.a(x) + 0.25))  # pyright: ignore[reportCallIssue]
    else:
        assert [len(value) for value in noise.fixed(module)] == [1, 1]


def test_other_inputs_than_are_drawn_are_refused_with_those_to_write(tmp_path: Path) -> None:
    contract = Contract((PICTURE, DRAWN[0]), (OUTPUT,))
    with pytest.raises(ModelError, match="draws 2 times") as caught:
        loaded(tmp_path, contract, noise=("n",))
    assert "{name: noise_0, shape: [1, 8, 8]}" in str(caught.value.next)
    assert "{name: noise_1, shape: [8, 8, 8], sample: {kind: uniform, low: 0, high: 1}}" in str(
        caught.value.next
    )


class Everything(nn.Module):
    """Each way to draw, one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        drawn = [
            torch.randn(n, 3),
            torch.randn((n, 3)),
            torch.randn(size=(n, 3)),
            torch.rand(n, 3),
            torch.randn_like(x),
            torch.rand_like(x),
            torch.normal(0.0, 1.0, (n, 3)),
            torch.normal(x, 1.0),
            torch.empty(n, 3).normal_(),
            torch.empty(n, 3).uniform_(-1, 1),
            F.dropout(x, training=True),
            nn.Dropout(0.5).train()(x),
            F.dropout2d(x[:, :, None, None], training=True).flatten(1),
        ]
        return torch.stack(drawn).sum(0)


def test_every_way_to_draw_is_seen() -> None:
    contract = Contract((Input("x", (3,)),), (Output("y", (3,), layout=""),))
    module, x = Everything(), torch.ones(2, 3)
    kinds = [draw.kind for draw in noise.draws(module, contract)]
    assert (len(kinds), kinds.count("normal")) == (13, 7)
    noise.fix(module, contract)
    adapt(module, Form(noise="fixed"), ["x"])
    assert torch.equal(module(x), module(x))
    graph = trace(module, contract)
    torch.testing.assert_close(graph(x), module(x))
    assert not any("rand" in str(node.target) or "normal" in str(node.target) for node in graph.graph.nodes)


class Gumbel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        soft, hard = F.gumbel_softmax(x, 0.7), F.gumbel_softmax(x, hard=True)
        waits = torch.empty_like(x).exponential_(2.0)
        return torch.cat(
            [soft, hard, waits, torch.bernoulli(x.sigmoid()), torch.empty_like(x).bernoulli_(0.3)], 1
        )


def test_gumbel_and_other_draws_are_the_same_of_the_same_numbers() -> None:
    contract = Contract((Input("x", (6,)),), (Output("y", (30,), layout=""),))
    module = Gumbel().eval()
    assert [draw.kind for draw in noise.draws(module, contract)] == 5 * ["uniform"]
    noise.fix(module, contract)
    adapt(module, Form(noise="fixed"), ["x"])
    x = torch.randn(2, 6)
    soft, hard, waits, odds, coins = module(x).chunk(5, 1)
    torch.testing.assert_close(module(x), torch.cat([soft, hard, waits, odds, coins], 1))
    torch.testing.assert_close(trace(module, contract)(x), module(x))
    u = noise.fixed(module)
    torch.testing.assert_close(soft, ((x - (-u[0].log()).log()) / 0.7).softmax(1))
    assert torch.equal(hard.argmax(1), (x - (-u[1].log()).log()).argmax(1))
    torch.testing.assert_close(waits, (-u[2].log() / 2).expand(2, 6))
    assert torch.equal(odds, (u[3] < x.sigmoid()).float())
    assert torch.equal(coins, (u[4] < 0.3).float().expand(2, 6))
