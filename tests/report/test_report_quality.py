"""Tables, plot and headline of figures that say what they are: metrics that this report never heard of."""

from __future__ import annotations

from typing import Any

import pytest

from edgegan.measure.statistics import Interval
from edgegan.report import plot
from edgegan.report.headline import headline
from edgegan.report.quality import main_metric
from edgegan.report.table import markdown_table
from edgegan.report.table_view import table_view
from edgegan.run.figures import Figures, MetricColumn, Protocol, Row


def row(name: str, **measured: Any) -> Row:
    times = {"latency_ms_p50": 2.0 if name == "full" else 1.0}
    return Row(name, name, macs=10, file_bytes=20, measured={**times, **measured})


def figures(rows: list[Row], **metrics: MetricColumn) -> Figures:
    return Figures(Protocol(batch=1), tuple(rows), metrics)


SOUND = figures(
    [
        row("full"),
        row("int8", mel_distance=Interval(0.2, 0.1, 0.3), **{"bits.agree": Interval(0.991, 0.98, 1.0)}),
    ],
    mel_distance=MetricColumn("mel_distance", "mel distance", "lower", output="wave"),
    **{"bits.agree": MetricColumn("agree", "bits: equal bits", "higher", unit="%", scale=100.0)},
)


def test_columns_are_those_that_the_figures_describe() -> None:
    view = table_view(SOUND)
    titles = [column.title for column in view.columns if column.group == "quality"]
    assert titles == ["mel distance", "bits: equal bits, %"]
    full, other = view.rows
    assert [cell.text for cell in full.cells[-2:]] == ["baseline", "baseline"]
    assert [cell.text for cell in other.cells[-2:]] == ["0.200", "99.1"]
    assert "FID" not in " ".join(view.absent)
    assert "mel distance" in markdown_table(SOUND)
    assert "equal bits" not in markdown_table(SOUND)


def test_the_plot_and_the_headline_take_the_first() -> None:
    data = plot.tradeoff(SOUND)
    assert data is not None
    assert (data.title, data.better) == ("mel distance to the full model", "lower")
    assert "lower is better" in plot.tradeoff_svg(data, plot.WIDE)
    found = headline(SOUND)
    assert found is not None
    assert (found.items[-1].figure, found.items[-1].what) == ("0.200", "mel distance to the full model")


@pytest.mark.parametrize(("better", "tone"), [("higher", "better"), ("lower", "worse")])
def test_a_direction_turns_the_verdict(better: Any, tone: str) -> None:
    metric = MetricColumn("precision", "precision-1k", better, "reference")
    rows = [row("full", p=Interval(0.5, 0.4, 0.6)), row("int8", p=Interval(0.8, 0.7, 0.9))]
    found = headline(figures(rows, p=metric))
    assert found is not None
    assert found.items[-1].tone == tone


def test_what_no_row_has_is_not_the_main_metric() -> None:
    other = MetricColumn("fid", "FID-1k", "lower", "reference")
    described = Figures(SOUND.protocol, SOUND.rows, {"fid_1k": other, **SOUND.metrics})
    assert main_metric(described) == ("mel_distance", SOUND.metrics["mel_distance"])
    assert main_metric(figures([row("full")])) is None
