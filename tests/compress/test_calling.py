"""How forward takes a contract's inputs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.calling import in_a_row, keywords
from edgegan.compress.generator import prepare
from edgegan.runtime.contract import Contract, Input, Output, Sample


def plain(z: Any, y: Any = None, *, psi: Any = 1.0) -> None: ...
def between(z: Any, psi: Any = 1.0, y: Any = None) -> None: ...
def alone(*, z: Any, y: Any, **more: Any) -> None: ...
def endless(*given: Any) -> None: ...


@pytest.mark.parametrize(
    ("forward", "names", "given", "expected"),
    [
        (plain, ["z"], (), [None]),
        (plain, ["latent", "label"], (), [None, None]),
        (plain, ["z", "psi"], (), [None, "psi"]),
        (between, ["z", "y"], (), [None, "y"]),
        (between, ["z", "label"], (), [None, None]),
        (between, ["z", "y"], ("psi",), [None, "y"]),
        (alone, ["z", "y"], (), ["z", "y"]),
        (alone, ["y", "z"], (), ["y", "z"]),
        (alone, ["latent", "y"], (), ["z", "y"]),
        (endless, ["a", "b", "c"], (), [None, None, None]),
    ],
)
def test_inputs_go_by_position_and_by_name_where_that_is_needed(
    forward: Any, names: list[str], given: tuple[str, ...], expected: list[str | None]
) -> None:
    assert keywords(forward, names, given) == expected


class Keyworded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Embedding(4, 5)

    def forward(
        self, *, z: Tensor, y: Tensor | None = None, sign: float = 1.0, **more: Any
    ) -> dict[str, Any]:
        hidden = self.a(z) if y is None else self.a(z) * self.b(y)
        return {"sample": sign * hidden, "more": [hidden]}


def test_a_network_of_keywords_alone_is_called_as_all_others_are() -> None:
    module = Keyworded().eval().requires_grad_(False)
    label = Input("y", (), "int64", Sample("labels", classes=4))
    contract = Contract((Input("z", (3,)), label), (Output("out", (5,), layout=""),))
    z, y = torch.randn(2, 3), torch.tensor([1, 3])
    expected = module(z=z, y=y, sign=-1.0)["sample"]
    prepare(module, contract, {"out": "sample"}, {"sign": -1.0})
    assert torch.equal(copy.deepcopy(module)(z, y), expected)
    in_a_row(module, ["z"])
    assert torch.equal(module(z)["sample"], module.a(z))
