"""Metrics of quality, one a file, and the registry that finds them by name."""

from edgegan.measure.metrics.base import Given, Metric, MetricSpec, against_reference, paired
from edgegan.measure.metrics.registry import Column, columns, described, find

__all__ = [
    "Column",
    "Given",
    "Metric",
    "MetricSpec",
    "against_reference",
    "columns",
    "described",
    "find",
    "paired",
]
