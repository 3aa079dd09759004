"""What a complaint asks for: guesses with one input changed by what a network said of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from edgegan.init.inputs import Facts, Guess, Kind, kind_guesses
from edgegan.init.trying import Guesses

WIDEST = 1 << 16
NUMBER = re.compile(r"\d+")
OF_AXES = re.compile(
    r"number of dimensions|(not enough|too many) values to unpack|\b[1-6]D\b|Dimension out of range"
)
WHERE = re.compile(r"(dimension|dim|argument|operand) #?\d+")
WANTS_FLOATS = re.compile(
    r"must be either a floating point|Got: Long|(found|got|and) (torch\.)?(Long|long int)\b"
)
WANTS_LABELS = re.compile(r"one of the following scalar types: Long, Int|used as indices must be long")
OF_SIZES = re.compile(
    r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)|"
    r"Expected size (\d+) but got size (\d+)"
)
SMALLEST, LARGEST, LONGEST = 8, 512, 1 << 14
"""Of pictures, and series, whose sizes are tried a whole number of times apart from each other."""
OTHER_AXES = re.compile(
    r"values to unpack|Dimension out of range|too many indices|number of dimensions|dim\(\) ?=|"
    r"[Ee]xpected \dD|got \d-?D|must have at least \d+ dim|same number of dim"
)
ROWS: tuple[Kind, ...] = ("sequence", "signal", "vector")
"""Kinds that are tried in one another's place where a complaint is of axes."""


def repairs(
    guesses: Guesses, problem: str, facts: Facts, *, farther: bool
) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one input changed by a complaint, and how far-fetched that is.

    With `farther` of other axes and lengths as well.
    """
    yield from _of_other_widths(guesses, problem, lengths=farther)
    yield from _of_another_kind(guesses, problem, facts)
    if farther:
        yield from _of_other_axes(guesses, problem, facts)
    yield from _of_another_size(guesses, problem)
    yield from _of_told_size(guesses, problem)


def _of_other_widths(guesses: Guesses, problem: str, *, lengths: bool) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one width, or length, changed by a complaint's numbers, and how far-fetched that is.

    Where a layer wants b and was given a, an input of width d may have to have b, or, where several are
    joined, d + b - a.
    """
    of_axes = OF_AXES.search(problem) or (lengths and OTHER_AXES.search(problem))
    told = [] if of_axes else NUMBER.findall(WHERE.sub("", problem[:600]))
    numbers = list(dict.fromkeys(map(int, told)))[:12]
    places = [
        (index, guess, axis)
        for index, guess in enumerate(guesses)
        for axis in (guess.width, *([guess.length] if lengths else []))
    ]
    for index, guess, axis in places:
        if axis is None:
            continue
        size = guess.shape[axis]
        dear = 1.0 if guess.kind == "picture" else 0.5 if axis == guess.length else 0.0
        direct = {b for b in numbers if b != size}
        joined = {size + b - a for a, b in itertools.permutations(numbers, 2)} - direct - {size}
        for wanted, cost in ((direct, 0.3), (joined, 0.6)):
            for value in sorted(wanted):
                if 0 < value <= WIDEST:
                    odd = 2.0 if guess.kind == "picture" and value not in (1, 3, 4, 6) else 0.0
                    resized = guess.resized(axis, value)
                    yield cost + dear + odd, (*guesses[:index], resized, *guesses[index + 1 :])


def _of_another_kind(guesses: Guesses, problem: str, facts: Facts) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one input a label where a table is asked for what is no whole number, and floats
    where one is computed with that may not be whole.
    """
    for index, guess in enumerate(guesses):
        others: list[Guess] = []
        if WANTS_LABELS.search(problem) and guess.kind in ("vector", "scalar", "onehot"):
            others = [Guess(guess.name, "label", (), classes=count) for count in facts.classes[:3]]
        elif WANTS_FLOATS.search(problem) and guess.kind in ("label", "tokens"):
            kinds: tuple[Kind, ...] = ("sequence",) if guess.kind == "tokens" else ("vector", "onehot")
            others = [other for kind in kinds for other in list(kind_guesses(guess.name, kind, facts))[:6]]
        for other in others:
            yield 0.3, (*guesses[:index], other, *guesses[index + 1 :])


def _of_another_size(guesses: Guesses, problem: str) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one input smaller or larger by as much as what was made of two is apart."""
    told = OF_SIZES.search(problem)
    least, most = sorted(int(size) for size in told.groups() if size) if told else (0, 0)
    if least < 2 or most == least or most % least or sum(bool(guess.free) for guess in guesses) < 2:
        return
    for cost, ratio in ((0.4, Fraction(least, most)), (0.5, Fraction(most, least))):
        for index, guess in enumerate(guesses):
            lengths = [guess.shape[axis] * ratio for axis in guess.free]
            largest = LARGEST if len(lengths) > 1 else LONGEST
            if all(length.denominator == 1 and SMALLEST <= length <= largest for length in lengths):
                changed = dict(zip(guess.free, map(int, lengths)))
                shape = tuple(changed.get(axis, size) for axis, size in enumerate(guess.shape))
                if changed:
                    yield cost, _changed(guesses, index, shape)


def _of_told_size(guesses: Guesses, problem: str) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one input as long, along all axes of its length or one, as what it met."""
    told = OF_SIZES.search(problem)
    first, second = (int(size) for size in told.groups() if size) if told else (0, 0)
    for index, guess in enumerate(guesses):
        for size, wanted in ((first, second), (second, first)):
            axes = [axis for axis in guess.free if guess.shape[axis] == size]
            for some in {tuple(axes), *((axis,) for axis in axes)} if wanted >= SMALLEST else ():
                shape = tuple(wanted if axis in some else one for axis, one in enumerate(guess.shape))
                if some:
                    yield 0.4 + 0.1 * (len(some) < len(axes)), _changed(guesses, index, shape)


def _changed(guesses: Guesses, index: int, shape: tuple[int, ...]) -> Guesses:
    return (*guesses[:index], replace(guesses[index], shape=shape), *guesses[index + 1 :])


def _of_other_axes(guesses: Guesses, problem: str, facts: Facts) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one input of other axes, where a complaint is of these, else one turned."""
    for index, guess in enumerate(guesses):
        others: list[Guess] = []
        if OTHER_AXES.search(problem) and guess.kind in ROWS:
            others = [next(kind_guesses(guess.name, kind, facts)) for kind in ROWS if kind != guess.kind]
        elif guess.kind in ("signal", "sequence"):
            turned: Kind = "sequence" if guess.kind == "signal" else "signal"
            others = [replace(guess, kind=turned, shape=guess.shape[::-1])]
        elif OTHER_AXES.search(problem) and guess.kind == "label" and not guess.shape:
            others = [replace(guess, shape=size) for size in facts.sizes[:1]]
        for other in others:
            yield 0.3, (*guesses[:index], other, *guesses[index + 1 :])
