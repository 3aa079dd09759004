"""The content of `figures.json`: facts and figures of a row side by side, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgegan.measure.statistics import Interval
from edgegan.reading import Unreadable
from edgegan.run.figures import Figures, Row


def test_written_figures_are_read_back_the_same(figures: dict[str, Any]) -> None:
    assert json.loads(json.dumps(figures)) == figures
    assert Figures.from_dict(figures).to_dict() == figures


def test_facts_and_figures_stand_side_by_side() -> None:
    data = {
        "name": "int8",
        "macs": 5,
        "fid_2k": {"value": 2.0, "low": 1.0, "high": 3.0},
        "ssim": 0.5,
        "kid_2k": None,
    }
    row = Row.from_dict(data)
    assert (row.number("fid_2k"), row.number("macs"), row.number("ssim")) == (2.0, 5, 0.5)
    assert row.interval("ssim") == Interval(0.5, 0.5, 0.5)
    assert row.get("kid_2k") is row.get("absent") is row.interval("kid_2k") is None
    assert {key: row.to_dict()[key] for key in data} == data


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"macs": -1}, r"rows\[0\].macs must be a whole number"),
        ({"fid_10k": "low"}, r"rows\[0\].fid_10k must be 0 or a number"),
        ({"fid_10k": {"value": 1, "low": 0}}, r"rows\[0\].fid_10k.high is missing"),
        ({"latency_ms_p50": 1e99}, r"rows\[0\].latency_ms_p50 must be 0 or a number"),
        ({"speedup": 0}, r"rows\[0\].speedup.value must be more than 0"),
        ({"speedup": {"value": 1, "low": 0, "high": 2}}, r"rows\[0\].speedup.low must be more than 0"),
        ({"failed": {"fid": 3}}, r"rows\[0\].failed.fid must be text"),
    ],
)
def test_a_damaged_row_is_refused_with_its_place(change: dict[str, Any], text: str) -> None:
    with pytest.raises(Unreadable, match=text):
        Figures.from_dict({"rows": [{"name": "full", **change}]})


@pytest.mark.parametrize(
    "data", [{}, {"rows": []}, {"rows": {}}, {"rows": [1]}, [], {"rows": [{}], "schema": 99}]
)
def test_what_holds_no_rows_is_refused(data: Any) -> None:
    with pytest.raises(Unreadable):
        Figures.from_dict(data)
