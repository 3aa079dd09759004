"""Inputs that a network runs on, found by trying: the most usual first, then what its complaints ask for."""

from __future__ import annotations

import heapq
import itertools
import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from edgegan.compress.leaves import leaves
from edgegan.init.inputs import Facts, Guess, Kind, Option, kind_guesses, options, parameters
from edgegan.init.modality import is_picture

MOST_STARTS = 2000
MOST_TRIES = 1500
SECONDS = 80.0
"""How long inputs are tried, all in all."""
PASSES = ((False, False, 0.5), (False, True, 0.75), (True, False, 1.0))
"""Whether numbers of Python are tried, whether what is farther is, and the share of the time at its end."""
WIDEST = 1 << 16
MOST_VALUES = 1 << 21
"""One sample of an input that is tried has no more, as a video of 8 frames of 256x256."""
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
OF_PLACES = re.compile(r"(.*_)?(seg(ment.*)?|segmap|semantics?|parsing|layout|(heat|pose|label)_?maps?)")
"""Names of maps of as many places as the picture beside them has."""
SMALLEST, LARGEST, LONGEST = 8, 512, 1 << 14
"""Of pictures, and series, whose sizes are tried a whole number of times apart from each other."""
OTHER_AXES = re.compile(
    r"values to unpack|Dimension out of range|too many indices|number of dimensions|dim\(\) ?=|"
    r"[Ee]xpected \dD|got \d-?D|must have at least \d+ dim|same number of dim"
)
ROWS: tuple[Kind, ...] = ("sequence", "signal", "vector")
"""Kinds that are tried in one another's place where a complaint is of axes."""
FARTHER = 0.5
"""By how much a new complaint makes what follows from it likelier: the network ran farther."""
FEW = 8
SMALL = 32
"""No picture that a generator is for is smaller."""
FEATURES = 8
"""How long and wide maps of features are tried."""
TINY = "its outputs are of a few pixels"
JOINED = "a sample's output depends on the other samples"
DOUBTS = (TINY, JOINED)
Guesses = tuple[Guess, ...]


@dataclass(frozen=True)
class Search:
    """What trying came to: inputs that the network runs on, or None, and what it says of the `likeliest`."""

    inputs: Guesses | None
    tried: int
    likeliest: Guesses = ()
    complaint: str = ""


def search(module: nn.Module, seconds: float = SECONDS) -> Search:
    """Find inputs that `module`, in eval mode, runs on: with finite outputs, a row for each sample."""
    start = time.monotonic()
    tries = _Tries(module)
    for numbers, farther, share in PASSES:
        found = _search(tries, Facts(module, numbers=numbers), start + share * seconds, farther=farther)
        if found is not None:
            return Search(found, len(tries.faults))
    failed = ((guesses, problem) for guesses, problem in tries.faults.items() if problem not in DOUBTS)
    likeliest, complaint = next(failed, ((), None))
    return Search(None, len(tries.faults), likeliest, complaint or "")


def run(module: nn.Module, inputs: Guesses, n: int, seed: int = 0) -> Any:
    """Run `module` on `n` samples of `inputs`."""
    return call(module, [guess.draw(n, seed) for guess in inputs])


def call(module: nn.Module, values: Sequence[Any]) -> Any:
    """Run `module` without gradients."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module(*values)


def outputs(result: Any, n: int) -> list[tuple[tuple[str, ...], Tensor]]:
    """Return the floating tensors of `result` that have a row for each of `n` samples, with their paths."""
    return [
        (path, value)
        for path, value in leaves(result)
        if value.is_floating_point() and value.dim() > 1 and len(value) == n
    ]


def chosen(given: list[tuple[tuple[str, ...], Tensor]]) -> list[tuple[tuple[str, ...], Tensor]]:
    """Return the outputs that a generator is for: its pictures of the largest size, or else the first."""
    pictures = [one for one in given if is_picture(one[1].shape[1:])]
    if not pictures:
        return given[:1]
    largest = max(value.shape[2] * value.shape[3] for _, value in pictures)
    return [one for one in pictures if one[1].shape[2] * one[1].shape[3] == largest]


class _Tries:
    """What is wrong with the inputs that were tried on a module, each of them once, in their order."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.faults: dict[Guesses, str | None] = {}

    def fault(self, guesses: Guesses) -> str | None:
        if guesses not in self.faults:
            self.faults[guesses] = fault(self.module, guesses)
        return self.faults[guesses]


def _search(tries: _Tries, facts: Facts, end: float, *, farther: bool) -> Guesses | None:
    """Search till `end`; `farther` with other axes and lengths, and first along what makes the network run
    farther.
    """
    module = tries.module
    choices = [options(parameter, facts) for parameter in parameters(module)]
    each = max(4, int(MOST_STARTS ** (1 / len(choices))))
    choices = [_of_all_kinds(choice, each) if farther else choice[:each] for choice in choices]
    order = itertools.count()
    queue = [
        (sum(option.cost for option in chosen), next(order), tuple(option.guess for option in chosen))
        for chosen in itertools.product(*choices)
        if _of_one_size(chosen)
    ]
    heapq.heapify(queue)
    costs = {guesses: cost for cost, _, guesses in queue}
    doubtful: Guesses | None = None
    told: set[str] = set()
    most = len(tries.faults) + MOST_TRIES
    while queue and len(tries.faults) < most and time.monotonic() < end:
        cost, _, guesses = heapq.heappop(queue)
        if cost > costs[guesses] or any(math.prod(guess.shape) > MOST_VALUES for guess in guesses):
            continue
        problem = tries.fault(guesses)
        if problem is None:
            for change in (_as_pictures, _as_used, _as_features):
                other = change(module, guesses)
                guesses = other if other != guesses and tries.fault(other) is None else guesses
            return guesses
        if problem in DOUBTS:
            doubtful = doubtful or guesses
            continue
        kind = NUMBER.sub("", problem)
        cost -= FARTHER if farther and kind not in told else 0
        told.add(kind)
        others = _of_other_axes(guesses, problem, facts) if farther else ()
        repaired = _repairs(guesses, problem, lengths=farther)
        for more, other in (
            *repaired,
            *_of_another_kind(guesses, problem, facts),
            *others,
            *_of_another_size(guesses, problem),
            *_of_told_size(guesses, problem),
        ):
            if other not in costs or (farther and cost + more < costs[other]):
                costs[other] = cost + more
                heapq.heappush(queue, (cost + more, next(order), other))
    return doubtful


def fault(module: nn.Module, guesses: Guesses) -> str | None:
    """Say why `module` cannot be used on `guesses`; None where it runs as a generator has to."""
    try:
        given = [outputs(run(module, guesses, n), n) for n in (2, 3)]
        if not all(given):
            return "it gives no row for each sample"
        if not all(torch.isfinite(value).all() for _, value in given[0]):
            return "its outputs are not finite"
        two, three = ([(path, value.shape[1:]) for path, value in rows] for rows in given)
        if two != three:
            return "its outputs' shapes depend on the number of samples"
        return JOINED if _in_steps(module, guesses) else _doubt(module, guesses, given[0][0][1])
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _doubt(module: nn.Module, guesses: Guesses, pair: Tensor) -> str | None:
    """Say what makes these inputs unlikely, although the module runs on them and gives `pair` of two."""
    if pair.dim() == 4 and max(pair.shape[2:]) < FEW and any(guess.kind == "map" for guess in guesses):
        return TINY
    values = [
        torch.cat([guess.draw(2, seed=1)[:1], drawn[1:]])
        if isinstance(drawn := guess.draw(2), Tensor)
        else drawn
        for guess in guesses
    ]
    beside = outputs(call(module, values), 2)[0][1]
    close = torch.allclose(beside[1], pair[1], rtol=1e-4, atol=1e-5 * float(pair.abs().max()))
    return None if close else JOINED


def _in_steps(module: nn.Module, guesses: Guesses) -> bool:
    """Whether a layer takes the samples of a batch for the steps of a series."""
    n, found = 3, []

    def look(layer: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor):
            first = getattr(layer, "batch_first", False)
            found.append(given[0].dim() < 3 or given[0].shape[0 if first else 1] % n != 0)

    with ExitStack() as hooks:
        for layer in module.modules():
            if isinstance(layer, (nn.RNNBase, nn.MultiheadAttention)):
                hooks.callback(layer.register_forward_pre_hook(look).remove)
        run(module, guesses, n)
    return any(found)


def _of_all_kinds(choice: Sequence[Option], most: int) -> list[Option]:
    """Return the `most` usual options, and among them the first of each kind as far as there is room."""
    kinds: dict[str, Option] = {}
    for option in choice:
        kinds.setdefault(option.guess.kind, option)
    first = list(kinds.values())[:most]
    others = [option for option in choice if option not in first]
    return sorted([*first, *others[: most - len(first)]], key=lambda option: option.cost)


def _of_one_size(chosen: Sequence[Option]) -> bool:
    """Whether all pictures among the guesses are of one size, and all sounds of one length."""
    sizes = {option.guess.shape[1:] for option in chosen if option.guess.kind == "picture"}
    lengths = {option.guess.shape[-1] for option in chosen if option.guess.kind in ("signal", "contour")}
    return len(sizes) < 2 and len(lengths) < 2


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


def _as_used(module: nn.Module, guesses: Guesses) -> Guesses:
    """Return the guesses with vectors of which the network takes any width as wide as it looks at them."""
    for index, guess in enumerate(guesses):
        if guess.kind != "vector" or guess.shape[0] < 2:
            continue
        if fault(module, _with(guesses, index, guess.shape[0] - 1)) is not None:
            continue
        values = [other.draw(2) for other in guesses]
        drawn = values[index].requires_grad_()
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            values[index] = drawn.clone()
            made = [value.square().sum() for _, value in outputs(module(*values), 2) if value.requires_grad]
        slopes = torch.autograd.grad(made, [drawn], allow_unused=True) if made else [None]
        seen = [] if slopes[0] is None else slopes[0].ne(0).any(0).nonzero().flatten().tolist()
        guesses = _with(guesses, index, seen[-1] + 1) if seen else guesses
    return guesses


def _with(guesses: Guesses, index: int, width: int) -> Guesses:
    return (*guesses[:index], guesses[index].resized(0, width), *guesses[index + 1 :])


def _as_features(module: nn.Module, guesses: Guesses) -> Guesses:
    """Return the guesses with maps of one place as large as maps of features are, where a network gives as
    many times more for them, and little for one: a latent's first layer adds to what it gives.
    """
    wide = tuple(
        replace(guess, shape=(guess.shape[0], *(FEATURES,) * (len(guess.shape) - 1)))
        if guess.kind == "map" and guess.shape[-1] == 1
        else guess
        for guess in guesses
    )
    if wide == guesses or fault(module, wide) is not None:
        return guesses
    one, many = (chosen(outputs(run(module, each, 2), 2))[0][1].shape[2:] for each in (guesses, wide))
    grown = all(more == FEATURES * size for size, more in zip(one, many))
    return wide if one and grown and max(one) < SMALL else guesses


def _as_pictures(module: nn.Module, guesses: Guesses) -> Guesses:
    """Return the guesses with small maps, which a network may stretch, as large as the picture beside them:
    those of few channels, and those that tell something of each place by their names.
    """
    sizes = {guess.shape[1:] for guess in guesses if guess.kind == "picture"}
    if len(sizes) != 1:
        return guesses
    size = sizes.pop()
    return tuple(
        replace(guess, kind="picture", shape=(guess.shape[0], *size))
        if guess.kind == "map"
        and ((guess.shape[0] <= 4 and guess.shape[-1] > 1) or OF_PLACES.fullmatch(guess.name.lower()))
        else guess
        for guess in guesses
    )


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
        for other in others:
            yield 0.3, (*guesses[:index], other, *guesses[index + 1 :])


def _repairs(guesses: Guesses, problem: str, *, lengths: bool) -> Iterator[tuple[float, Guesses]]:
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
