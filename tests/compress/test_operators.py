from __future__ import annotations

from itertools import combinations
from typing import Any

import onnx
import pytest
import torch

from edgegan.compress.operators import (
    INT8_LAYERS,
    LAYERS,
    MOVES,
    REORDERS,
    RESHAPES,
    SELECTIONS,
    TRANSPOSED,
    aten,
)

ARGUMENTS: dict[Any, tuple[Any, ...]] = {
    aten.reshape.default: ([4, -1],),
    aten.view.default: ([4, -1],),
    aten.flatten.using_ints: (),
    aten.unflatten.int: (1, [2, 2]),
    aten.unsqueeze.default: (0,),
    aten.squeeze.dim: (0,),
    aten.permute.default: ([0, 2, 3, 1],),
    aten.transpose.int: (1, 3),
    aten.pixel_shuffle.default: (2,),
    aten.pixel_unshuffle.default: (2,),
    aten.slice.Tensor: (2, 1, 5),
    aten.upsample_nearest1d.vec: (None, [2.0]),
    aten.upsample_nearest2d.vec: (None, [2.0, 3.0]),
    aten.upsample_nearest3d.vec: (None, [2.0, 1.0, 2.0]),
    aten.max_pool2d.default: ([2, 2],),
}
AXES = {aten.upsample_nearest1d.vec: 1, aten.upsample_nearest3d.vec: 3}


@pytest.mark.parametrize("operator", MOVES.torch, ids=str)
def test_what_moves_gives_values_that_it_takes(operator: Any) -> None:
    axes = AXES.get(operator, 2)
    x = torch.randperm(4 * 6**axes).view(1, 4, *[6] * axes).float()
    y = operator(x, *ARGUMENTS[operator])
    assert {*y.flatten().tolist()} <= {*x.flatten().tolist()}
    if operator in RESHAPES.torch:
        assert torch.equal(y.flatten(), x.flatten())
    if operator in REORDERS.torch:
        assert sorted(y.flatten()) == sorted(x.flatten())


@pytest.mark.parametrize("side", ["torch", "onnx"])
def test_no_operator_is_of_two_kinds(side: str) -> None:
    kinds = [{*getattr(kind, side)} for kind in (LAYERS, RESHAPES, REORDERS, SELECTIONS)]
    assert not any(one & other for one, other in combinations(kinds, 2))
    assert {*getattr(MOVES, side)} == set.union(*kinds[1:])


def test_names_are_those_of_onnx() -> None:
    assert all(onnx.defs.has(name) for name in (*LAYERS.onnx, *MOVES.onnx))
    assert {*LAYERS.torch} - {*INT8_LAYERS.torch} == {*TRANSPOSED}
