from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgegan.compress.quantize import QuantizeSettings
from edgegan.compress.quantize.choose.budget import Budget, parse


@pytest.mark.parametrize(
    ("written", "name", "share", "samples"),
    [
        ({"fid_10k_increase": "3%"}, "fid_10k_increase", 0.03, 10_000),
        ({"fid_2k_increase": 0.05}, "fid_2k_increase", 0.05, 2000),
        ({"fid_500_increase": " 2.5 %"}, "fid_500_increase", 0.025, 500),
        ({"fid_1k_increase": 0}, "fid_1k_increase", 0.0, 1000),
    ],
)
def test_a_budget_for_fid_names_its_samples(
    written: dict[str, object], name: str, share: float, samples: int
) -> None:
    budget = Budget.of(parse(written))
    assert (budget.psnr_db, budget.fid_name, budget.fid_samples) == (None, name, samples)
    assert budget.fid_increase == pytest.approx(share)


def test_both_figures_at_once() -> None:
    budget = Budget.of(parse({"psnr_db": 40, "fid_2k_increase": "3%"}))
    assert (budget.psnr_db, budget.fid_increase) == (40.0, 0.03)
    assert str(budget) == "psnr_db: 40, fid_2k_increase: 3%"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"fid": "3%"}, "knows no figure 'fid'"),
        ({"fid_10k": "3%"}, "knows no figure 'fid_10k'"),
        ({"fid_0k_increase": "3%"}, "knows no figure"),
        ({"fid_1_increase": "3%"}, "2 samples or more"),
        ({"ssim": 0.9}, "knows no figure 'ssim'"),
        ({"fid_1k_increase": "3%", "fid_2k_increase": "3%"}, "one number of samples"),
        ({"fid_1k_increase": 3}, "as 3% or 0.03, not 3"),
        ({"fid_1k_increase": "-1%"}, "0% to 100%"),
        ({"fid_1k_increase": "three"}, "not 'three'"),
        ({"fid_1k_increase": True}, "not True"),
        ({"fid_1k_increase": float("nan")}, "not nan"),
        ({"psnr_db": "40%"}, "number of dB"),
        ({"psnr_db": 0}, "more than 0"),
        ({"psnr_db": 101}, "100 at most"),
        (["psnr_db"], "must be figures and their limits"),
    ],
)
def test_what_is_no_budget_is_refused(written: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        QuantizeSettings.model_validate({"quality": written})


def test_settings_hold_fractions_and_read_their_own_dump() -> None:
    settings = QuantizeSettings.model_validate({"quality": {"fid_10k_increase": "3%"}})
    assert settings.quality == {"fid_10k_increase": 0.03}
    assert QuantizeSettings.model_validate(settings.model_dump(mode="json")) == settings
    assert QuantizeSettings().quality == {}


@given(st.floats(-50, 200), st.floats(-0.99, 100))
def test_a_score_is_positive_and_one_only_within_the_budget(psnr: float, increase: float) -> None:
    budget = Budget.of(parse({"psnr_db": 40, "fid_1k_increase": "3%"}))
    score = budget.score({"psnr_db": psnr, "fid_1k_increase": increase})
    assert 0 < score <= 1
    assert (score == 1) == (psnr >= 40 and increase <= 0.03)
    assert budget.score({"psnr_db": psnr + 1, "fid_1k_increase": increase}) >= score
