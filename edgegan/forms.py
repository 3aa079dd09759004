"""What plain data read from a file must look like, checked before it is used.

A form is called with a value and its place in the file, as in `rows[2].speedup.low`, and raises `Unreadable`
where the value is of another form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from edgegan.reading import Unreadable

Form = Callable[[Any, str], None]

SMALLEST, LARGEST = 1e-30, 1e15
"""Figures other than 0 are within these, so that their ratios can be drawn and written."""


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a value of a file is an object; what it holds may be anything."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether a value of a file is a list; what it holds may be anything."""
    return isinstance(value, list)


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether what an app or a file gives is a mapping, of anything to anything."""
    return isinstance(value, Mapping)


def is_row(value: object) -> TypeGuard[Sequence[Any]]:
    """Tell whether what an app or a file gives is a list or a tuple, of anything."""
    return isinstance(value, (list, tuple))


def anything(value: Any, place: str) -> None:
    """Take any value: what is shown as it is, or not used."""


def text(value: Any, place: str) -> None:
    """Take a string."""
    _expect(isinstance(value, str), "text", value, place)


def number(value: Any, place: str) -> None:
    """Take a number of a figure's size."""
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = numeric and (value == 0 or SMALLEST <= abs(value) <= LARGEST)
    _expect(fits, f"0 or a number from {SMALLEST:g} to {LARGEST:g}", value, place)


def real(value: Any, place: str) -> None:
    """Take a number of any size."""
    _expect(isinstance(value, (int, float)) and not isinstance(value, bool), "a number", value, place)


def positive(value: Any, place: str) -> None:
    """Take a number of a figure's size above 0."""
    number(value, place)
    _expect(value > 0, "more than 0", value, place)


def count(value: Any, place: str) -> None:
    """Take a whole number, 0 or more."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    _expect(whole and 0 <= value <= LARGEST, "a whole number from 0 to 1e15", value, place)


def whole(value: Any, place: str) -> None:
    """Take a whole number of any size."""
    _expect(isinstance(value, int) and not isinstance(value, bool), "a whole number", value, place)


def boolean(value: Any, place: str) -> None:
    """Take true or false."""
    _expect(isinstance(value, bool), "true or false", value, place)


def maybe(form: Form) -> Form:
    """Take null, or what `form` takes."""
    return lambda value, place: None if value is None else form(value, place)


def either(first: Form, *others: Form) -> Form:
    """Take what one of the forms takes; errors are those of the last."""

    def check(value: Any, place: str) -> None:
        for form in (first, *others)[:-1]:
            try:
                return form(value, place)
            except Unreadable:
                continue
        return (first, *others)[-1](value, place)

    return check


def list_of(form: Form) -> Form:
    """Take a list whose items are all of `form`."""

    def check(value: Any, place: str) -> None:
        _expect(isinstance(value, list), "a list", value, place)
        for index, item in enumerate(value):
            form(item, f"{place}[{index}]")

    return check


def at_least_one(value: Any, place: str) -> None:
    """Take what is not empty."""
    if not value:
        raise Unreadable(f"{place} has no entries")


def mapping_of(form: Form) -> Form:
    """Take an object whose values are all of `form`."""

    def check(value: Any, place: str) -> None:
        _expect(isinstance(value, dict), "an object", value, place)
        for key, item in value.items():
            form(item, inside(place, key))

    return check


def record(needed: Mapping[str, Form], optional: Mapping[str, Form] | None = None) -> Form:
    """Take an object with the keys `needed`, perhaps with those of `optional`, and with any others."""
    forms = {**needed, **(optional or {})}

    def check(value: Any, place: str) -> None:
        _expect(isinstance(value, dict), "an object", value, place)
        for key in needed:
            if key not in value:
                raise Unreadable(f"{inside(place, key)} is missing")
        for key, item in value.items():
            if key in forms:
                forms[key](item, inside(place, key))

    return check


def inside(place: str, key: str) -> str:
    """Return the place of an object's `key` at `place`."""
    return f"{place}.{key:.60}" if place else f"{key:.60}"


def _expect(fits: bool, what: str, value: Any, place: str) -> None:
    if not fits:
        raise Unreadable(f"{place or 'the file'} must be {what}, not {_kind(value)}")


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), f"{value!r:.30}")
