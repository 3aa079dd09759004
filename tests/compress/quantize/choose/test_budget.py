from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgegan.compress.quantize import QuantizeSettings
from edgegan.compress.quantize.choose.budget import Budget, parse
from edgegan.measure.metrics.fid import FID
from edgegan.measure.metrics.own import of_function


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
    (limit,) = budget.limits
    assert (limit.name, limit.samples, limit.relative, limit.metric) == (name, samples, True, FID)
    assert limit.value == pytest.approx(share)


def test_both_figures_at_once() -> None:
    budget = Budget.of(parse({"psnr_db": 40, "fid_2k_increase": "3%"}))
    assert [limit.value for limit in budget.limits] == [40.0, 0.03]
    assert str(budget) == "psnr_db: 40, fid_2k_increase: 3%"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"fid": 3}, "of how many samples"),
        ({"fid_10k": "3%"}, "must be a number"),
        ({"fid_0k_increase": "3%"}, "knows no figure"),
        ({"fid_1k_decrease": "3%"}, "lower is better, so say increase"),
        ({"recall_1k_increase": "3%"}, "higher is better, so say decrease"),
        ({"psnr_db_decrease": "3%"}, "limit it itself"),
        ({"iou": 0.9}, "knows no figure 'iou'"),
        ({"my_metrics.py:iou": "good"}, "must be a number"),
        ({"fid_1_increase": "3%"}, "2 or more"),
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
    assert QuantizeSettings().quality is None


@given(st.floats(-50, 200), st.floats(-0.99, 100))
def test_a_score_is_positive_and_one_only_within_the_budget(psnr: float, increase: float) -> None:
    budget = Budget.of(parse({"psnr_db": 40, "fid_1k_increase": "3%"}))
    score = budget.score({"psnr_db": psnr, "fid_1k_increase": increase})
    assert 0 < score <= 1
    assert (score == 1) == (psnr >= 40 and increase <= 0.03)
    assert budget.score({"psnr_db": psnr + 1, "fid_1k_increase": increase}) >= score


@pytest.mark.parametrize(
    ("written", "good", "bad"),
    [
        ({"ssim": 0.95}, 0.96, 0.94),
        ({"mel_distance": 0.2}, 0.1, 0.3),
        ({"fid_2k": 12}, 11.5, 12.5),
        ({"recall_2k_decrease": "5%"}, 0.04, 0.06),
        ({"class_agreement": "99%"}, 0.995, 0.985),
        ({"relative_error": 0.01}, 0.0, 1.0),
    ],
)
def test_any_metric_has_a_limit_in_its_own_direction(
    written: dict[str, object], good: float, bad: float
) -> None:
    budget = Budget.of(parse(written))
    (name,) = written
    assert budget.score({name: good}) == 1
    assert 0 < budget.score({name: bad}) < 1
    assert str(Budget.of(parse({name: budget.limits[0].value}))) == str(budget)


def test_a_function_of_ones_own_has_a_limit() -> None:
    asked = parse({"my_metrics.py:iou": "90%"})
    assert asked == {"my_metrics.py:iou": 0.9}
    metric = of_function(lambda outputs, full: 1.0, "iou")
    budget = Budget.of(asked, {"my_metrics.py:iou": metric}.__getitem__)
    assert budget.score({"my_metrics.py:iou": 0.8}) < 1 == budget.score({"my_metrics.py:iou": 0.95})
