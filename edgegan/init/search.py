"""Inputs that a network runs on, found by trying: the most usual first, then what its complaints ask for."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from edgegan.init.inputs import Facts, Option, options, parameters
from edgegan.init.likelier import likelier
from edgegan.init.repairs import repairs
from edgegan.init.trying import DOUBTS, Guesses, fault

MOST_STARTS = 2000
SECONDS = 80.0
"""How long inputs are tried, all in all."""
PASSES = ((False, False, 0.4, 1500), (False, True, 0.85, 6000), (True, False, 1.0, 1500))
"""Whether numbers of Python are tried, whether what is farther is, the share of the time at its end, and how
much is tried in it."""
MOST_VALUES = 1 << 21
"""One sample of an input that is tried has no more, as a video of 8 frames of 256x256."""
FARTHER = 0.5
"""How much likelier what follows from a complaint is where the network ran farther than before."""


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
    for numbers, farther, share, most in PASSES:
        facts, end = Facts(module, numbers=numbers), start + share * seconds
        found = _search(tries, facts, end, len(tries.faults) + most, farther=farther)
        if found is not None:
            return Search(found, len(tries.faults))
    failed = [guesses for guesses, problem in tries.faults.items() if problem not in DOUBTS]
    likeliest = max(failed, key=lambda guesses: tries.steps[guesses], default=())
    return Search(None, len(tries.faults), likeliest, tries.faults.get(likeliest) or "")


class _Tries:
    """What is wrong with the inputs that were tried on a module, each of them once, in their order."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.faults: dict[Guesses, str | None] = {}
        self.steps: dict[Guesses, int] = {}
        """How far each ran: functions of torch that were called."""

    def fault(self, guesses: Guesses) -> str | None:
        if guesses not in self.faults:
            steps = _Steps()
            self.faults[guesses] = fault(self.module, guesses, within=steps)
            self.steps[guesses] = steps.count
        return self.faults[guesses]


class _Steps(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += 1
        return result


def _search(tries: _Tries, facts: Facts, end: float, most: int, *, farther: bool) -> Guesses | None:
    """Search till `end`, or till `most` were tried; `farther` with other axes and lengths, and first along
    what makes the network run farther.
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
    before: dict[Guesses, int] = {}
    farthest = -1
    while queue and len(tries.faults) < most and time.monotonic() < end:
        cost, _, guesses = heapq.heappop(queue)
        if cost > costs[guesses] or any(math.prod(guess.shape) > MOST_VALUES for guess in guesses):
            continue
        problem = tries.fault(guesses)
        if problem is None:
            return likelier(module, guesses, tries.fault)
        if problem in DOUBTS:
            doubtful = doubtful or guesses
            continue
        steps = tries.steps[guesses]
        cost -= FARTHER if farther and steps > before.get(guesses, farthest) else 0
        farthest = max(farthest, steps)
        for more, other in repairs(guesses, problem, facts, farther=farther):
            if other not in costs or (farther and cost + more < costs[other]):
                costs[other], before[other] = cost + more, steps
                heapq.heappush(queue, (cost + more, next(order), other))
    return doubtful


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
    guesses = [option.guess for option in chosen]
    sizes = {guess.shape[-2:] for guess in guesses if guess.kind == "picture" or guess.is_class_map}
    lengths = {guess.shape[-1] for guess in guesses if guess.kind in ("signal", "contour")}
    return len(sizes) < 2 and len(lengths) < 2
