from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgegan.compress.psnr import (
    BEHIND_DB,
    DRAWN,
    behind_db,
    mean_psnr_db,
    psnr_db,
    psnr_of,
    sure_psnr_of,
)
from edgegan.runtime.contract import Contract, Input, Output

WIDE = Output("wide", (2,), range=(-1.0, 1.0), layout="")
NARROW = Output("narrow", (2,), range=(0.0, 0.1), layout="")


def contract(*outputs: Output) -> Contract:
    return Contract((Input("x", (1,)),), outputs)


def test_the_peak_is_the_width_of_the_range() -> None:
    true = (torch.zeros(3, 2),)
    assert psnr_db((torch.full((3, 2), 0.02),), true, contract(WIDE)) == pytest.approx(40, abs=1e-3)
    assert psnr_db((torch.full((3, 2), 0.01),), true, contract(NARROW)) == pytest.approx(20, abs=1e-3)


def test_one_bad_sample_decides_over_all_as_one_and_not_over_the_mean() -> None:
    true = (torch.zeros(2, 2),)
    given = (torch.tensor([[0.002, 0.002], [0.2, 0.2]]),)
    assert psnr_db(given, true, contract(WIDE)) == pytest.approx(23.01, abs=0.01)
    assert mean_psnr_db(given, true, contract(WIDE)) == pytest.approx(40, abs=0.01)


def test_the_worst_output_counts_and_equal_ones_stay_finite() -> None:
    true = torch.zeros(2, 2)
    pair = contract(WIDE, NARROW)
    assert psnr_db((true, true), (true, true), pair) == pytest.approx(200)
    assert mean_psnr_db((true, true), (true, true), pair) == pytest.approx(100)
    for measure in (psnr_db, mean_psnr_db):
        assert measure((true, true + 0.01), (true, true), pair) == pytest.approx(20, abs=1e-3)


def lognormal(spread: float, *size: int) -> Tensor:
    return torch.randn(size, dtype=torch.float64).mul(spread).sub(9).exp()


@pytest.mark.parametrize(("count", "spread"), [(16, 0.3), (64, 0.3), (64, 0.8), (256, 1.2)])
def test_other_samples_are_seldom_farther_than_is_sure(count: int, spread: float) -> None:
    torch.manual_seed(0)
    seen, drawn = (lognormal(spread, 1000, size) for size in (count, DRAWN))
    held = sum(sure_psnr_of([here]) <= psnr_of([there]) for here, there in zip(seen, drawn))
    assert 920 <= held <= 990


def test_what_is_sure_is_less_than_what_is_seen_by_how_much_samples_differ() -> None:
    calm, wild = (lognormal(spread, 64) for spread in (0.1, 1.0))
    assert 0 < psnr_of([calm]) - sure_psnr_of([calm]) < 0.3
    assert psnr_of([wild]) - sure_psnr_of([wild]) > 1
    for alike in (torch.full((8,), 1e-4), torch.tensor([1e-4])):
        assert sure_psnr_of([alike]) == pytest.approx(40, abs=1e-3)
    assert sure_psnr_of([torch.zeros(4)]) == pytest.approx(200)


def test_how_far_behind_by_chance_is_within_the_margin() -> None:
    torch.manual_seed(0)
    given, others = torch.randn(2, 1000, 32, dtype=torch.float64).mul(0.01).square()
    found = [behind_db([a], [b]) for a, b in zip(given, others)]
    assert sum(behind > BEHIND_DB for behind, _ in found) > 300
    assert sum(behind > margin for behind, margin in found) < 25


def test_what_is_farther_on_each_sample_is_behind_by_that_much() -> None:
    torch.manual_seed(0)
    true = lognormal(1.0, 32)
    far = true * 10**0.1 * lognormal(0.05, 32) * torch.e**9
    for errors, others in (([far], [true]), ([true / 10, far], [true, true])):
        behind, margin = behind_db(errors, others)
        assert behind == pytest.approx(1, abs=0.1)
        assert margin < 0.15
    assert behind_db([far[:1]], [true[:1]])[1] == torch.inf
    assert behind_db([true], [true]) == (0, 0)
