"""How much quality INT8 may cost, by any metric: the setting `quality` of the stage `quantize`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from edgegan.errors import InputError
from edgegan.measure.metrics import Metric, find
from edgegan.measure.metrics.registry import parsed
from edgegan.recipe import OWN_METRIC

PSNR_DB = "psnr_db"
MOST_DB = 100.0
DEFAULT_DB = 40.0
"""What INT8 has to reach where nobody says: differences that one hardly sees."""
_CHANGES = {"lower": "increase", "higher": "decrease"}
_RELATIVE = re.compile(rf"(?P<figure>.+)_({'|'.join(_CHANGES.values())})")
_FORM = "as in {fid_10k_increase: 3%} or {psnr_db: 40}"


@dataclass(frozen=True)
class Limit:
    """What one figure of INT8 outputs must reach."""

    name: str
    """As a recipe writes it: "psnr_db", "fid_10k", "fid_10k_increase", "my_metrics.py:iou"."""
    metric: Metric
    value: float
    """The figure itself; or with `relative`, the share by which it may be worse than the float student's."""
    samples: int | None
    """How many outputs the figure is of; None where its name does not say."""
    relative: bool

    @classmethod
    def of(cls, name: str, value: float, find: Callable[[str], Metric] = find) -> Limit:
        """Return what an entry of the setting stands for; `find` knows metrics by name.

        Raises:
            ValueError: it is no figure of a metric.
            UserError: there is no such metric.
        """
        change = _RELATIVE.fullmatch(name)
        figure = change["figure"] if change else name
        called, samples = (figure, None) if OWN_METRIC.fullmatch(figure) else parsed(figure)
        metric = find(called)
        if metric.spec.needs == "reference" and (samples is None or samples < 2):
            raise ValueError(f"must say of how many samples, 2 or more: {called}_10k, not {figure!r:.60}")
        if change and name != f"{figure}_{_CHANGES[metric.spec.better]}":
            raise ValueError(
                f"{called}: {metric.spec.better} is better, so say {_CHANGES[metric.spec.better]}"
            )
        if change and metric.spec.needs == "pair":
            raise ValueError(f"{called} is to the float outputs: limit it itself, as {called}: VALUE")
        return cls(name, metric, value, samples, bool(change))

    def score(self, measured: float) -> float:
        """Return 1 where `measured` is within the limit, else less, but more than 0."""
        lower = self.relative or self.metric.spec.better == "lower"
        beyond = measured - self.value if lower else self.value - measured
        if beyond <= 0:
            return 1.0
        return 1.0 / (1.0 + beyond / ((1.0 if self.relative else 0.0) + max(abs(self.value), 1e-6)))

    def change(self, figure: float, before: float) -> float:
        """Return by what share a `figure` is worse than the one `before`."""
        worse = figure - before if self.metric.spec.better == "lower" else before - figure
        return worse / max(abs(before), 1e-9)

    def in_words(self, value: float) -> str:
        """Write a value of this figure."""
        return f"{self.name} {100 * value:.1f}%" if self.relative else f"{self.name} {value:.2f}"

    def __str__(self) -> str:
        """Write the limit as a recipe would."""
        return f"{self.name}: {100 * self.value:g}%" if self.relative else f"{self.name}: {self.value:g}"


@dataclass(frozen=True)
class Budget:
    """What INT8 outputs must reach, in all figures at once."""

    limits: tuple[Limit, ...] = ()

    @classmethod
    def of(cls, quality: Mapping[str, float], find: Callable[[str], Metric] = find) -> Budget:
        """Return the budget that a setting, read by `parse`, stands for; `find` knows metrics by name.

        Raises:
            UserError: there is no such metric.
        """
        return cls(tuple(Limit.of(name, value, find) for name, value in quality.items()))

    def score(self, measured: Mapping[str, float]) -> float:
        """Return 1 where all that was `measured` is within the budget, else less, but more than 0."""
        scores = (limit.score(measured[limit.name]) for limit in self.limits if limit.name in measured)
        return min(scores, default=1.0)

    def in_words(self, measured: Mapping[str, float]) -> str:
        """Write what was measured, and of what is not in the budget as well."""
        limits = {limit.name: limit for limit in self.limits}
        return ", ".join(
            limits[name].in_words(value) if name in limits else f"{name} {value:.2f}"
            for name, value in measured.items()
        )

    def to_dict(self) -> dict[str, float]:
        """Return the limits by figure."""
        return {limit.name: limit.value for limit in self.limits}

    def __str__(self) -> str:
        """Write the budget as a recipe would."""
        return ", ".join(map(str, self.limits))


def parse(value: Any) -> dict[str, float]:
    """Read the setting: `{fid_10k_increase: 3%}`, `{psnr_db: 40}`, or others; percents become fractions.

    Raises:
        ValueError: there is a key that is no figure, or a value out of range.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"must be figures and their limits, {_FORM}")
    return {str(name): _limit(str(name), of) for name, of in value.items()}


def _limit(name: str, value: Any) -> float:
    percent = isinstance(value, str) and value.strip().endswith("%")
    number = _number(value.strip()[:-1]) if percent else _number(value)
    if OWN_METRIC.fullmatch(name):
        if number is None:
            raise ValueError(f"{name} must be a number, not {value!r}")
        return number / 100 if percent else number
    try:
        limit = Limit.of(name, 0.0)
    except InputError as error:
        raise ValueError(f"knows no figure {name!r:.60}; {_FORM}; {error.next}") from error
    if limit.relative:
        fraction = None if number is None else number / 100 if percent else number
        if fraction is None or not 0 <= fraction <= 1:
            raise ValueError(f"{name} must be a share of 0% to 100%, as 3% or 0.03, not {value!r}")
        return fraction
    if name == PSNR_DB and (number is None or percent or not 0 < number <= MOST_DB):
        raise ValueError(
            f"{PSNR_DB} must be a number of dB, more than 0 and {MOST_DB:g} at most, not {value!r}"
        )
    if number is None or (percent and limit.metric.spec.unit != "%"):
        raise ValueError(f"{name} must be a number, not {value!r}")
    return number / 100 if percent else number


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) else None
