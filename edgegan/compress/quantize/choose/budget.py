"""How much quality INT8 may cost: the setting `quality` of the stage `quantize`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

PSNR_DB = "psnr_db"
MOST_DB = 100.0
_FID = re.compile(r"fid_([1-9]\d*)(k?)_increase")
_FORM = "as in {fid_10k_increase: 3%} or {psnr_db: 40}"


@dataclass(frozen=True)
class Budget:
    """What INT8 outputs must reach; None asks for nothing."""

    psnr_db: float | None = None
    """At least this to the float outputs, in dB."""
    fid_increase: float | None = None
    """At most this share of the float student's FID more."""
    fid_name: str = ""
    """The figure's name, as "fid_10k_increase"."""
    fid_samples: int = 0

    @classmethod
    def of(cls, quality: Mapping[str, float]) -> Budget:
        """Return the budget that a setting, read by `parse`, stands for."""
        fid = next((name for name in quality if name != PSNR_DB), "")
        return cls(quality.get(PSNR_DB), quality.get(fid), fid, _samples(fid))

    def score(self, measured: Mapping[str, float]) -> float:
        """Return 1 where all that was `measured` is within the budget, else less, but more than 0."""
        scores = [1.0]
        if self.psnr_db is not None:
            scores.append(max(measured[PSNR_DB], 1e-6) / self.psnr_db)
        if self.fid_increase is not None and self.fid_name in measured:
            scores.append((1 + self.fid_increase) / max(1 + measured[self.fid_name], 1e-6))
        return min(scores)

    def __str__(self) -> str:
        """Write the budget as a recipe would."""
        parts = [f"{PSNR_DB}: {self.psnr_db:g}"] if self.psnr_db is not None else []
        parts += [f"{self.fid_name}: {100 * self.fid_increase:g}%"] if self.fid_increase is not None else []
        return ", ".join(parts)


def parse(value: Any) -> dict[str, float]:
    """Read the setting: `{fid_10k_increase: 3%}`, `{psnr_db: 40}`, or both; percents become fractions.

    Raises:
        ValueError: there is another key, two of FID, or a value out of range.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"must be figures and their limits, {_FORM}")
    unknown = [name for name in value if name != PSNR_DB and not _samples(str(name))]
    if unknown:
        raise ValueError(f"knows no figure {unknown[0]!r}; {_FORM}, with 2 samples or more")
    if len(set(value) - {PSNR_DB}) > 1:
        raise ValueError("takes FID on one number of samples only")
    return {name: _decibels(of) if name == PSNR_DB else _fraction(name, of) for name, of in value.items()}


def _samples(name: str) -> int:
    """Return how many samples the name of a FID speaks of; 0 where it is no such name, or of one sample."""
    found = _FID.fullmatch(name)
    count = int(found[1]) * (1000 if found[2] else 1) if found else 0
    return count if count > 1 else 0


def _decibels(value: Any) -> float:
    number = _number(value)
    if number is None or not 0 < number <= MOST_DB:
        raise ValueError(
            f"{PSNR_DB} must be a number of dB, more than 0 and {MOST_DB:g} at most, not {value!r}"
        )
    return number


def _fraction(name: str, value: Any) -> float:
    percent = isinstance(value, str) and value.strip().endswith("%")
    number = _number(value.strip()[:-1]) if percent else _number(value)
    fraction = None if number is None else number / 100 if percent else number
    if fraction is None or not 0 <= fraction <= 1:
        raise ValueError(f"{name} must be a share of 0% to 100%, as 3% or 0.03, not {value!r}")
    return fraction


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) else None
