"""A user's own metric: a function in a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from edgegan.errors import DataError, InputError
from edgegan.measure.metrics.base import Given, Metric, MetricSpec, Need, pair_of
from edgegan.measure.statistics import Interval, bootstrap


def of_function(function: Callable[..., Any], name: str, version: str = "") -> Metric:
    """Return the metric of `function(outputs, full)` or `function(outputs)`, called `name`.

    The function gets samples (N, ...) as an app gets them, and where it takes them the full model's of equal
    inputs. One that looks at outputs alone is measured of the full model too. It returns
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
    spec = MetricSpec(name, title, better, kinds, needs=_needs(function), unit=unit)
    return Metric(spec, lambda given: _measure(function, spec, given), version)


def _needs(function: Callable[..., Any]) -> Need:
    """Tell what a function looks at: outputs alone, where it cannot be called with two arguments."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return "outputs"
    return "pair"


def _measure(function: Callable[..., Any], spec: MetricSpec, given: Given) -> Interval | float:
    name = spec.name
    arrays = [given.outputs] if spec.needs == "outputs" else [given.outputs, pair_of(given)]
    try:
        values = np.asarray(function(*arrays), dtype=np.float64)
    except Exception as error:
        raise DataError(
            f"the metric {name} failed: {type(error).__name__}: {error}", next="correct it in its file"
        ) from error
    if values.shape not in ((), (len(given.outputs),)):
        raise DataError(
            f"the metric {name} gave {values.shape} for {len(given.outputs)} samples",
            next="return a number for each sample, or one for all",
        )
    if values.ndim:
        return bootstrap(values)
    if not np.isfinite(values):
        raise DataError(f"the metric {name} gave {values}")
    return float(values)
