"""Plain data as dataclasses: what is taken, and where an error lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegan import forms
from edgegan.reading import Unreadable
from edgegan.run.typed import check_schema, from_plain, to_plain

Place = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Inner:
    low: float
    high: float = 1.0


@dataclass(frozen=True)
class Outer:
    name: str
    place: Place = "cpu"
    count: Annotated[int, forms.count] = 0
    shift: int = 0
    good: bool = True
    note: str | None = None
    figure: float | Inner | None = None
    parts: tuple[Inner, ...] = ()
    table: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    free: Any = None


NUMBERS = st.floats(-1e10, 1e10, allow_subnormal=False).map(
    lambda value: value if abs(value) > 1e-20 else 0.0
)
INNER = st.builds(Inner, low=NUMBERS, high=NUMBERS)
OUTER = st.builds(
    Outer,
    name=st.text(st.characters(codec="utf-8")),
    place=st.sampled_from(("cpu", "gpu")),
    count=st.integers(0, 10**15),
    shift=st.integers(-(2**70), 2**70),
    good=st.booleans(),
    note=st.none() | st.text(st.characters(codec="utf-8")),
    figure=st.none() | NUMBERS | INNER,
    parts=st.lists(INNER, max_size=3).map(tuple),
    table=st.dictionaries(
        st.text(st.characters(codec="utf-8")), st.lists(st.integers()).map(tuple), max_size=3
    ),
    free=st.none() | st.lists(st.integers()),
)


@given(OUTER)
def test_what_is_written_is_read_back(made: Outer) -> None:
    plain = to_plain(made)
    assert json.loads(json.dumps(plain)) == plain
    assert from_plain(Outer, plain) == made


def test_what_is_absent_has_its_default_and_what_is_unknown_is_left_out() -> None:
    assert from_plain(Outer, {"name": "a", "later": 1}) == Outer("a")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": 1}, "name must be text, not 1"),
        ({"name": None}, "name must be text, not null"),
        ({"place": "tpu"}, "place must be one of cpu, gpu, not 'tpu'"),
        ({"place": ["cpu"]}, "place must be one of cpu, gpu"),
        ({"count": True}, "count must be a whole number, not true"),
        ({"count": -1}, "count must be a whole number from 0"),
        ({"shift": 0.5}, "shift must be a whole number, not 0.5"),
        ({"good": 1}, "good must be true or false"),
        ({"figure": "3"}, "figure must be 0 or a number"),
        ({"figure": {"high": 1}}, "figure.low is missing"),
        ({"figure": [1]}, "figure must be 0 or a number"),
        ({"parts": {"low": 1}}, "parts must be a list, not an object"),
        ({"parts": [{"low": 1}, {"low": "x"}]}, r"parts\[1\].low must be 0 or a number"),
        ({"table": {"a": [1, "b"]}}, r"table.a\[1\] must be a whole number, not text"),
    ],
)
def test_errors_name_the_place(change: dict[str, Any], text: str) -> None:
    with pytest.raises(Unreadable, match=text):
        from_plain(Outer, {"name": "a", **change})


@pytest.mark.parametrize("data", [None, [], "x", 3, {}])
def test_no_object_and_an_absent_name_are_refused(data: Any) -> None:
    with pytest.raises(Unreadable, match=r"must be an object|name is missing"):
        from_plain(Outer, data)


def test_a_later_schema_is_refused_with_what_to_do() -> None:
    check_schema({}, 2)
    check_schema({"schema": 2}, 2)
    with pytest.raises(Unreadable, match="schema 3, and this edgegan reads up to 2: update edgegan"):
        check_schema({"schema": 3}, 2)
    with pytest.raises(Unreadable, match="schema must be a whole number"):
        check_schema({"schema": "2"}, 2)
