"""Turns of models in processes of their own: one runs while the others wait idle, in shuffled order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.measure.disturbance import Calls
from edgegan.measure.worker import Worker, WorkerFailed
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact
from edgegan.runtime.contract import Contract

Floats = NDArray[np.float64]
_LEAST_PER_TURN = 2


@dataclass(frozen=True)
class Runnable:
    """A model's file, how its inputs are sampled and its outputs converted, and what runs it."""

    model: Path | Artifact
    contract: Contract
    engine: str = USUAL_ENGINE

    @property
    def artifact(self) -> Artifact:
        """What the file is: FP32 for any engine, where a path is all that is known."""
        model = self.model
        return model if isinstance(model, Artifact) else Artifact(model.stem, str(model))


def take_turns(
    runnables: Mapping[str, Runnable],
    *,
    batch: int,
    threads: int,
    seconds: float,
    warmup_seconds: float,
    starts: int,
    rounds: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> dict[str, Run]:
    """Start all `runnables` anew `starts` times, and give each `rounds` turns at each start.

    Args:
        batch: samples in a call.
        threads: of the engine in each process.
        seconds: for each model, over all its turns.
        warmup_seconds: for each model, at each start.
        seed: of the order.
        progress: called with (steps done, steps in all).
    """
    done, total = 0, starts * len(runnables) * (rounds + 2)
    order = random.Random(seed)
    runs = {name: Run(runnable) for name, runnable in runnables.items()}

    def shuffled() -> Iterable[Run]:
        nonlocal done
        for run in order.sample(list(runs.values()), len(runs)):
            yield run
            done += 1
            progress(done, total)

    for _ in range(starts):
        with ExitStack() as stack:
            for run in shuffled():
                run.start(stack, batch, threads)
            for run in shuffled():
                run.turn(warmup_seconds, counts=False)
            for _ in range(rounds):
                for run in shuffled():
                    run.turn(seconds / (starts * rounds))
            for run in runs.values():
                run.weigh()
    return runs


class Run:
    """One candidate's worker and what it has measured so far; after a failure it asks nothing more."""

    def __init__(self, runnable: Runnable) -> None:
        self._runnable = runnable
        self._worker: Worker | None = None
        self.failed: str | None = None
        self.engine: str | None = None
        self.load_ms: list[float] = []
        self.peak_rss_mib = 0.0
        self.starts: list[list[Calls]] = []
        """The turns of each start."""

    def start(self, stack: ExitStack, batch: int, threads: int) -> None:
        """Load the model in a process of its own, which `stack` ends."""
        if self.failed is not None:
            return
        contract = self._runnable.contract
        self._worker = Worker(threads)
        stack.callback(self._worker.close)
        reply = self._ask(
            {
                "do": "load",
                "artifact": asdict(self._runnable.artifact),
                "engine": self._runnable.engine,
                "contract": contract.to_dict(),
                "stored": str(contract.folder) if contract.folder else None,
                "batch": batch,
                "threads": threads,
            }
        )
        self.load_ms.append(reply.get("load_ms", 0.0))
        self.engine = reply.get("engine", self.engine)
        self.starts.append([])

    def turn(self, seconds: float, *, counts: bool = True) -> None:
        """Run for `seconds`; a turn that does not count warms up."""
        reply = self._ask({"do": "turn", "seconds": seconds, "least": _LEAST_PER_TURN}, seconds)
        if counts and reply:
            self.starts[-1].append(Calls.of(reply))

    def weigh(self) -> None:
        """Ask how much memory the process took at most."""
        self.peak_rss_mib = max(self.peak_rss_mib, self._ask({"do": "memory"}).get("peak_rss_mib", 0.0))

    @cached_property
    def calls(self) -> Calls:
        """All calls of all turns that count."""
        return Calls.of(*(turn for start in self.starts for turn in start))

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Which of all calls nothing interrupted."""
        return self.calls.kept(self.calls.busy)

    @cached_property
    def medians(self) -> Floats:
        """The medians of what is kept of each turn (starts, rounds); NaN where nothing is."""
        kept = [[turn.run_ms[turn.kept(self.calls.busy)] for turn in start] for start in self.starts]
        return np.array([[np.median(turn) if len(turn) else np.nan for turn in start] for start in kept])

    @cached_property
    def cpu_ms(self) -> Floats:
        """The mean CPU time of a call, interrupted or not, of each start."""
        means = [float(np.concatenate([turn.cpu_ms for turn in start]).mean()) for start in self.starts]
        return np.array(means)

    def _ask(self, request: dict[str, Any], seconds: float = 0.0) -> dict[str, Any]:
        if self.failed is not None or self._worker is None:
            return {}
        try:
            return self._worker.ask(request, seconds=seconds)
        except WorkerFailed as failure:
            self.failed = str(failure)
            self._worker.close()
            return {}
