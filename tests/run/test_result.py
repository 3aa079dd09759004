"""The hash of a run's result: what it holds, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_run import RECORDS, make_figures

from edgegan.run.figures import Figures
from edgegan.run.result import result_sha256

CONTRACT = {"inputs": [], "outputs": []}
FILES = {"model.fp32.onnx": "0" * 64}
LINEAGE = list(RECORDS.values())


def changed(row: int | None = None, **values: Any) -> Figures:
    """The figures with other values in the protocol, or in a row."""
    data = make_figures().to_dict()
    (data["protocol"] if row is None else data["rows"][row]).update(values)
    return Figures.from_dict(data)


def result(figures: Figures | None = None, **changes: Any) -> str:
    given = {"contract": CONTRACT, "files": FILES, "lineage": LINEAGE, **changes}
    return result_sha256(**given, figures=figures or make_figures())


@pytest.mark.parametrize(
    "figures",
    [
        changed(4, latency_ms_p50=9.0, speedup={"value": 2.0, "low": 1.5, "high": 2.5}, peak_rss_mib=1),
        changed(4, warnings=["a busy machine"], withheld={"speedup": "a busy machine"}, speedup=None),
        changed(4, failed={"latency": "killed"}),
        changed(machine={"cpu": "another"}, noise="Busy.", latency_seconds=20, engine="another"),
        replace(make_figures(), result_sha256="1" * 64),
    ],
)
def test_times_and_the_machine_are_apart(figures: Figures) -> None:
    assert figures != make_figures()
    assert result(figures) == result()


def test_the_seconds_of_stages_are_apart() -> None:
    assert result(lineage=[replace(record, seconds=1e3) for record in LINEAGE]) == result()


@pytest.mark.parametrize(
    "other",
    [
        {"contract": {**CONTRACT, "inputs": [1]}},
        {"files": {"model.fp32.onnx": "1" * 64}},
        {"lineage": LINEAGE[:-1]},
        {"lineage": [*LINEAGE[:-1], replace(LINEAGE[-1], settings={"opset": 19})]},
        {"lineage": [*LINEAGE[:-1], replace(LINEAGE[-1], proof={})]},
        {"figures": changed(4, fid_10k=7.0)},
        {"figures": changed(4, macs=5)},
        {"figures": changed(samples=2000)},
    ],
)
def test_all_else_is_in_it(other: dict[str, Any]) -> None:
    assert result(**other) != result()
