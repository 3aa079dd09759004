"""Numbers that come from a file or an app: whether they are what they should be."""

from __future__ import annotations

import sys
from numbers import Integral
from typing import Any, TypeGuard

from edgegan.errors import InputError

LARGEST = sys.float_info.max
MOST_SAMPLES = 2**31 - 1
MOST_THREADS = 4096


def is_integer(value: Any) -> TypeGuard[int]:
    """Tell whether a value of a file is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """Tell whether a value of a file is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_range(low: Any, high: Any) -> bool:
    """Tell whether two values of a file are finite numbers, the lower first."""
    return is_number(low) and is_number(high) and low < high


def whole(value: Any, what: str, least: int, most: int | None = None) -> int:
    """Return a whole number of any type, numpy's too; refuse others, truth values and those out of bounds."""
    number = int(value) if not isinstance(value, bool) and isinstance(value, (int, Integral)) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"{least} or more" if most is None or number is None or number < least else f"{most} at most"
        raise InputError(
            f"{what} must be {'a whole number, ' if number is None else ''}{bounds}, not {value!r:.40}"
        )
    return number


def number_of_samples(n: Any) -> int:
    """Return how many samples are asked for: as many as arrays can hold, at most.

    Raises:
        InputError: it is none, or too large.
    """
    return whole(n, "the number of samples", 1, MOST_SAMPLES)


def number_of_threads(threads: Any) -> int:
    """Return how many threads an engine is to have.

    Raises:
        InputError: it is no such number, or more than any machine has processors.
    """
    return whole(threads, "the number of threads", 1, MOST_THREADS)
