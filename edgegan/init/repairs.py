"""What a complaint asks for: guesses with one input changed by what a network said of them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from edgegan.init.inputs import LENGTHS, SOUND, Facts, Guess, Kind, kind_guesses, usual_kinds
from edgegan.init.trying import BATCH, FEATURES, Guesses

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
OF_CONVOLUTIONS = re.compile(
    r"weight of size \[(?P<weight>[\d, ]+)\], expected input\[1, (?P<batch>\d+)[\d, ]*\] to have "
    r"(?P<channels>\d+) channels|"
    r"batched\) input to conv(_transpose)?(?P<axes>[123])d"
)
"""Of inputs with too few axes, whose batch was taken for channels, or with others."""
OF_FLAT = re.compile(
    r"cannot be multiplied \(\d+x(?P<got>\d+) and (?P<wanted>\d+)x|"
    r"to have (?P<wanted_channels>\d+) channels, but got (?P<got_channels>\d+) channels"
)
OF_VIEW = re.compile(
    r"shape '\[-?\d+, (?P<sizes>\d+(, \d+)*)\]' is invalid for input of size (?P<values>\d+)"
)
OF_INDEX = re.compile(r"index (\d+) is out of bounds for dimension (\d+) with size (\d+)")
OF_RANKS = re.compile(r"same number of dimensions: got (\d) and (\d)")
SLID_OVER: dict[int, tuple[Kind, ...]] = {1: ("signal",), 2: ("picture", "map"), 3: ("volume", "map")}
"""Kinds that convolutions of so many axes slide over."""
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
        yield from _of_convolutions(guesses, problem, facts)
    yield from _of_flat_lengths(guesses, problem)
    yield from _of_views(guesses, problem)
    yield from _of_indices(guesses, problem)
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
                if (guess.kind == "onehot") < value <= WIDEST:
                    odd = 2.0 if guess.kind == "picture" and value not in (1, 3, 4, 6) else 0.0
                    resized = guess.resized(axis, value)
                    yield cost + dear + odd, (*guesses[:index], resized, *guesses[index + 1 :])


def _of_another_kind(guesses: Guesses, problem: str, facts: Facts) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one input a label where a table is asked for what is no whole number, and floats
    where one is computed with that may not be whole.
    """
    for index, guess in enumerate(guesses):
        others: list[Guess] = []
        meant = usual_kinds(guess.name)
        unlike = 1.0 if meant and "label" not in meant else 0.0
        if WANTS_LABELS.search(problem) and guess.kind not in ("label", "tokens", "number"):
            others = list(kind_guesses(guess.name, "label", facts))[:3]
        elif WANTS_FLOATS.search(problem) and guess.kind in ("label", "tokens"):
            kinds: tuple[Kind, ...] = ("sequence",) if guess.kind == "tokens" else ("vector", "onehot")
            others = [other for kind in kinds for other in list(kind_guesses(guess.name, kind, facts))[:6]]
        for other in others:
            yield 0.3 + unlike * (other.kind == "label"), (*guesses[:index], other, *guesses[index + 1 :])


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
            for some in {tuple(axes), *((axis,) for axis in axes)} if wanted > 1 else ():
                shape = tuple(wanted if axis in some else one for axis, one in enumerate(guess.shape))
                if some:
                    yield 0.4 + 0.1 * (len(some) < len(axes)), _changed(guesses, index, shape)


def _changed(guesses: Guesses, index: int, shape: tuple[int, ...]) -> Guesses:
    return (*guesses[:index], replace(guesses[index], shape=shape), *guesses[index + 1 :])


def _of_other_axes(guesses: Guesses, problem: str, facts: Facts) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one input of other axes, where a complaint is of these, else one turned."""
    beside = OF_RANKS.search(problem)
    ranks = sorted(int(rank) - 1 for rank in beside.groups()) if beside else [0, 0]
    for index, guess in enumerate(guesses):
        others: list[Guess] = []
        if ranks == [1, 3] and guess.kind == "vector":
            others = [replace(guess, kind="map", shape=(*guess.shape, FEATURES, FEATURES))]
        elif OTHER_AXES.search(problem) and guess.kind in ROWS:
            others = [next(kind_guesses(guess.name, kind, facts)) for kind in ROWS if kind != guess.kind]
        elif OTHER_AXES.search(problem) and guess.kind in ("label", "tokens") and len(guess.shape) < 2:
            grid = (FEATURES, FEATURES) if facts.axes > 1 else (1, LENGTHS[0])
            others = [replace(guess, kind="tokens", shape=grid if guess.shape else LENGTHS[:1])]
            if guess.kind == "label" and usual_kinds(guess.name).get("label") == 0:
                others = [replace(guess, shape=size) for size in facts.sizes[:1]]
        elif OTHER_AXES.search(problem) and guess.kind == "contour":
            others = [replace(guess, kind="sequence", shape=(*guess.shape, 1))]
        elif guess.kind in ("signal", "sequence"):
            turned: Kind = "sequence" if guess.kind == "signal" else "signal"
            others = [replace(guess, kind=turned, shape=guess.shape[::-1])]
        elif guess.kind == "volume":
            others = [replace(guess, shape=(guess.shape[1], guess.shape[0], *guess.shape[2:]))]
        for other in others:
            yield 0.6 if other.kind == "tokens" else 0.3, (*guesses[:index], other, *guesses[index + 1 :])


def _of_convolutions(guesses: Guesses, problem: str, facts: Facts) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one input of as many axes as the convolution slides over that complains."""
    told = OF_CONVOLUTIONS.search(problem)
    if not told or (told["batch"] and int(told["batch"]) != BATCH):
        return
    axes = int(told["axes"] or told["weight"].count(",") - 1)
    for index, guess in enumerate(guesses):
        if guess.kind in (*SLID_OVER[axes], "label", "tokens", "number"):
            continue
        for kind in SLID_OVER[axes]:
            first = next(kind_guesses(guess.name, kind, facts))
            channels = int(told["channels"] or first.shape[0])
            size = [FEATURES] * axes if kind == "map" else first.shape[1:]
            if kind == "signal":
                size = facts.lengths[:1] if channels > 2 else [SOUND]
            yield 0.3, (*guesses[:index], replace(first, shape=(channels, *size)), *guesses[index + 1 :])


def _of_flat_lengths(guesses: Guesses, problem: str) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one axis as much longer as the rows into which it was flattened have to be, or with
    as many channels more as a convolution misses.
    """
    told = OF_FLAT.search(problem)
    if not told:
        return
    got, wanted = (int(told[side] or told[f"{side}_channels"]) for side in ("got", "wanted"))
    for index, guess in enumerate(guesses):
        channels = guess.shape[0] + wanted - got if told["got_channels"] and guess.kind == "picture" else 0
        if 0 < channels <= 4:
            yield 0.4, (*guesses[:index], guess.resized(0, channels), *guesses[index + 1 :])
        for axis in guess.free:
            length = Fraction(guess.shape[axis] * wanted, got)
            fits = length.denominator == 1 and SMALLEST <= length <= LARGEST
            if fits and guess.shape[axis] != got:
                yield 0.5, (*guesses[:index], guess.resized(axis, int(length)), *guesses[index + 1 :])


def _of_views(guesses: Guesses, problem: str) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one input that has the values that it was to be viewed as, in a row or as rows."""
    told = OF_VIEW.search(problem)
    if not told:
        return
    sizes = tuple(map(int, told["sizes"].split(", ")))
    for index, guess in enumerate(guesses):
        if BATCH * math.prod(guess.shape) == int(told["values"]) and guess.kind not in ("label", "tokens"):
            kinds: tuple[Kind, ...] = ("vector", *(("sequence",) if len(sizes) == 2 else ()))
            for kind in kinds:
                shape = (math.prod(sizes),) if kind == "vector" else sizes
                yield 0.3, (*guesses[:index], replace(guess, kind=kind, shape=shape), *guesses[index + 1 :])


def _of_indices(guesses: Guesses, problem: str) -> Iterator[tuple[float, Guesses]]:
    """Yield guesses with one axis as long as an index into it asks for."""
    told = OF_INDEX.search(problem)
    place, axis, size = map(int, told.groups()) if told else (0, 0, 0)
    for index, guess in enumerate(guesses):
        if 0 < axis <= len(guess.shape) and guess.shape[axis - 1] == size:
            yield 0.1, (*guesses[:index], guess.resized(axis - 1, place + 1), *guesses[index + 1 :])
