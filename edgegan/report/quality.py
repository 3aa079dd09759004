"""Which figures of quality a run has: as the figures say, or as the names of older ones do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgegan.run.figures import Figures, MetricColumn, Row

OLD = (
    MetricColumn("fid", "FID", "lower", "reference"),
    MetricColumn("kid", "KID", "lower", "reference", "×10⁻³", 1e3),
    MetricColumn("precision", "precision", "higher", "reference"),
    MetricColumn("recall", "recall", "higher", "reference"),
    MetricColumn("psnr_db", "PSNR", "higher", unit="dB"),
    MetricColumn("ssim", "SSIM", "higher"),
)
"""The metrics of edgegan 0.1.0, whose figures did not say what they are, the most telling first."""

MAIN = ("fid", "psnr_db")


def quality_key(rows: Sequence[Row], metric: str) -> str | None:
    """Return the rows' key of a metric with its protocol's suffix (`fid_10k`); None where no row has it."""
    pattern = re.compile(rf"{metric}(_\d+[km]?)?")
    for row in rows:
        for key in (*row.measured, *row.failed):
            if pattern.fullmatch(key):
                return key
    return None


def told(figures: Figures) -> Mapping[str, MetricColumn]:
    """Return what is measured of quality, by key, the most telling first."""
    if figures.metrics:
        return figures.metrics
    keys = {metric: quality_key(figures.rows, metric.metric) for metric in OLD}
    return {
        key: replace(metric, title=metric.title + key.removeprefix(metric.metric).replace("_", "-"))
        for metric, key in keys.items()
        if key is not None
    }


def main_metric(figures: Figures) -> tuple[str, MetricColumn] | None:
    """Return the most telling metric that some row has, or has failed at; None where none has any.

    Of figures that do not say it that is FID, or PSNR where there is no FID.
    """
    known = told(figures)
    first = list(known) if figures.metrics else sorted(known, key=lambda key: known[key].metric not in MAIN)
    for key in first:
        metric = known[key]
        if any(row.get(key) is not None or key in row.failed for row in figures.rows):
            return key, metric
    return None


def title(metric: MetricColumn) -> str:
    """Return a metric's title with its unit: `PSNR, dB`."""
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title
