"""How figures are written: one place for the page, the terminal and the READMEs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgegan.measure.statistics import Interval

MISSING = "–"
TIMES = "×"


def count(value: float) -> str:
    """Write a count with an SI prefix: `415.2 M`, `1.3 k`, `87`."""
    return _prefixed(value, ("", "k", "M", "G", "T", "P")).rstrip()


def size(n_bytes: float) -> str:
    """Write a file size in decimal units: `9.4 MB`, `812 B`."""
    return _prefixed(n_bytes, ("B", "kB", "MB", "GB", "TB"))


def _prefixed(value: float, units: tuple[str, ...]) -> str:
    index = 0
    while abs(value) >= (999.95 if index else 999.5) and index < len(units) - 1:
        value /= 1000
        index += 1
    return f"{value:.1f} {units[index]}" if index else f"{value:.0f} {units[0]}"


def number(value: float, digits: int = 3) -> str:
    """Write a number with `digits` significant digits and no exponent: `1.23`, `0.00123`, `1235`."""
    return f"{value:.{_decimals(value, digits)}f}"


def _decimals(value: float, digits: int) -> int:
    if not value:
        return 0
    rounded = float(f"{value:.{digits - 1}e}")
    return min(9, max(0, digits - 1 - math.floor(math.log10(abs(rounded)))))


def milliseconds(value: float) -> str:
    """Write a latency: `1.23 ms`."""
    return f"{number(value)} ms"


def ratio(value: float) -> str:
    """Write a ratio: `4.1×`, `23×`."""
    return f"{number(value, 2)}{TIMES}"


def percent(share: float) -> str:
    """Write a share of 1: `92%`, `99.7%`; never 0% or 100% of what is neither."""
    value = 100 * share
    if 0.05 <= value < 1 or 99 < value <= 99.95:
        return f"{value:.1f}%"
    if 0 < value < 0.05 or 99.95 < value < 100:
        return "under 0.1%" if value < 1 else "over 99.9%"
    return f"{value:.0f}%"


def seconds(value: float) -> str:
    """Write a duration: `0.42 s`, `12 s`, `3 min 20 s`, `1 h 5 min`."""
    if value < 10:
        return f"{number(value, 2)} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def interval_parts(interval: Interval, *, digits: int = 3, scale: float = 1.0) -> tuple[str, str]:
    """Write a value and its bounds: `("4.1", "[3.9, 4.3]")`.

    Args:
        interval: in any unit.
        digits: significant digits of the value; more where the bounds are too close for these.
        scale: a factor on all three, for another unit.
    """
    value, low, high = (bound * scale for bound in (interval.value, interval.low, interval.high))
    decimals = _decimals(value, digits)
    if high > low:
        decimals = min(9, max(decimals, math.ceil(math.log10(2) - math.log10(high - low))))
    return f"{value:.{decimals}f}", f"[{low:.{decimals}f}, {high:.{decimals}f}]"


def interval(interval: Interval) -> str:
    """Write a value with its bounds: `6.21 [6.05, 6.36]`."""
    return " ".join(interval_parts(interval))


def speedup_parts(interval: Interval) -> tuple[str, str]:
    """Write a speed-up and its bounds: `("4.1×", "[3.9, 4.3]")`."""
    value, bounds = interval_parts(interval, digits=2)
    return value + TIMES, bounds


def plain(value: object) -> str:
    """Write any setting or figure of a record on one line: numbers short, lists by commas."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        if set(value) == {"value", "low", "high"} and all(map(_is_number, value.values())):
            return interval(Interval(**value))
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float(value: float) -> str:
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:.4g}"
