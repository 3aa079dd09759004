"""A user's own metric: a function in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgegan.errors import DataError, InputError
from edgegan.measure.metrics.base import Given, Metric, MetricSpec, pair_of
from edgegan.measure.statistics import Interval, bootstrap


def of_function(function: Callable[..., Any], name: str, version: str = "") -> Metric:
    """Return the metric of `function(outputs, full)`, called `name`.

    The function gets samples, and the full model's of equal inputs, (N, ...) as an app gets them. It returns
    a number for each sample (N,), whose mean is the figure with a bootstrap interval, or one number for all.
    Attributes of it say the rest: `better`, "higher" unless it is "lower"; `title`; `unit`; and `modalities`,
    the kinds of outputs that it is for, all by default. `version` is that of its file.

    Raises:
        InputError: an attribute has a value that it cannot have.
    """
    better = getattr(function, "better", "higher")
    if better not in ("higher", "lower"):
        raise InputError(
            f"`better` of the metric {name} must be 'higher' or 'lower', not {better!r:.40}",
            next=f"set {name}.better = 'lower' in its file, or leave it out",
        )
    kinds = tuple(getattr(function, "modalities", ()))
    title, unit = str(getattr(function, "title", name)), str(getattr(function, "unit", ""))
    spec = MetricSpec(name, title, better, kinds, unit=unit)
    return Metric(spec, lambda given: _measure(function, name, given), version)


def _measure(function: Callable[..., Any], name: str, given: Given) -> Interval | float:
    full = pair_of(given)
    try:
        values = np.asarray(function(given.outputs, full), dtype=np.float64)
    except Exception as error:
        raise DataError(
            f"the metric {name} failed: {type(error).__name__}: {error}", next="correct it in its file"
        ) from error
    if values.shape not in ((), (len(full),)):
        raise DataError(
            f"the metric {name} gave {values.shape} for {len(full)} samples",
            next="return a number for each sample, or one for all",
        )
    if values.ndim:
        return bootstrap(values)
    if not np.isfinite(values):
        raise DataError(f"the metric {name} gave {values}")
    return float(values)
