"""Numbers that come from a file or an app: whether they are what they should be."""

from __future__ import annotations

import sys
from typing import Any, TypeGuard

import numpy as np

from edgegan.errors import InputError

LARGEST = sys.float_info.max
MOST_SAMPLES = 2**31 - 1


def is_integer(value: Any) -> TypeGuard[int]:
    """Tell whether a value of a file is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """Tell whether a value of a file is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def whole(value: Any, what: str, least: int) -> int:
    """Return a whole number of any type, numpy's too; refuse others, truth values and those below `least`."""
    number = value if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else None
    if number is None or number < least:
        raise InputError(
            f"{what} must be {'a whole number, ' if number is None else ''}{least} or more, not {value!r:.40}"
        )
    return int(number)


def number_of_samples(n: Any) -> int:
    """Return how many samples are asked for.

    Raises:
        InputError: it is no whole number, less than 1, or more than arrays can hold.
    """
    count = whole(n, "the number of samples", 1)
    if count > MOST_SAMPLES:
        raise InputError(
            f"more than {MOST_SAMPLES} samples do not fit in memory", next="ask for fewer at a time"
        )
    return count
