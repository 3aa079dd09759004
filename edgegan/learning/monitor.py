"""What watches a training: it sees a collapse, says so, and takes the run back to where it was well."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from edgegan.files import remove, write_json
from edgegan.learning.algorithm import Algorithm
from edgegan.learning.checkpoint import load_state, save_state
from edgegan.reading import Unreadable, read_json
from edgegan.run.typed import from_plain

STEPS = 200
"""Between two looks, at the least."""
PATIENCE = 2
"""Looks in a row that have to see the same."""
MOST = 5
"""Times that a run is taken back."""
ALIKE = 0.25
"""The share of their usual spread under which outputs have become alike."""
BEGUN = 0.2
"""What that has to have been."""
THIN = 0.5
"""The share of their usual spread under which a state is not one to come back to."""
WON = 0.02
"""The share of an undecided discriminator's loss under which it has won."""
STEEP = 100.0
"""Times the usual norm of gradients."""
KNOWN = 6
"""Looks whose median is the usual, at the least; at the most three times as many."""
ASTRAY = 2.0
"""Times its least distance from the teacher, at which a student has gone astray: 6 dB."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Vitals:
    """What an algorithm tells of the networks as they are."""

    spread: float | None = None
    """How far outputs are from their nearest neighbours, as a share of how far real ones are."""
    distance: float | None = None
    """How far a student's outputs are from its teacher's, on average."""


class Watched(Algorithm, Protocol):
    """An algorithm that can be watched."""

    undecided: Mapping[str, float]
    """By loss what it is where a discriminator cannot tell real from generated, of those that matter."""

    def vitals(self) -> Vitals:
        """Look at the networks, and leave them as they are."""
        ...

    def soften(self, *, won: bool) -> str:
        """Learn more mildly from here on, where the discriminator has `won` it alone; say how."""
        ...


@dataclass(frozen=True)
class Trouble:
    """What was seen, and what was done about it."""

    step: int
    what: str
    back: int
    """The step to which the run was taken back."""
    now: str
    """How it learns from there."""

    def __str__(self) -> str:
        return f"step {self.step}: {self.what}; taken back to step {self.back}, from there with {self.now}"


class _Memory(nn.Module):
    """What counts for what is to come, so that a run that is resumed sees what an unbroken one sees."""

    times: Tensor
    streak: Tensor
    distance: Tensor
    norms: Tensor
    spreads: Tensor

    def __init__(self, players: int) -> None:
        super().__init__()
        for name, value in (
            ("times", torch.zeros(2, dtype=torch.int64)),  # for other reasons; since a discriminator had won
            ("streak", torch.zeros((), dtype=torch.int64)),
            ("distance", torch.full((), math.inf, dtype=torch.float64)),
            # From the newest on; those that are not known yet are -1.
            ("norms", torch.full((players, 3 * KNOWN), -1, dtype=torch.float64)),
            ("spreads", torch.full((3 * KNOWN,), -1, dtype=torch.float64)),
        ):
            self.register_buffer(name, value)


class Monitor:
    """Watches `algorithm`, in one process; what it saw is in `troubles`, and in `troubles.json` in `folder`.

    It tells a discriminator that has won by its loss, a collapse by the spread of the outputs, divergence by
    losses that are not finite and by gradients, and a student gone astray by its distance from the teacher.
    States that were well are kept in `folder` while it runs.
    """

    def __init__(self, algorithm: Watched, folder: Path) -> None:
        self.algorithm, self.folder = algorithm, folder
        self.memory = _Memory(len(algorithm.players()))
        self.troubles: list[Trouble] = []
        self._file = folder / "troubles.json"

    def begin(self, done: int) -> None:
        """Take up what there is at step `done`, or keep the first state."""
        times = int(self.memory.times.sum())
        try:
            kept = read_json(self._file) if times else []
            self.troubles = [from_plain(Trouble, each) for each in kept][:times]
        except Unreadable:
            self.troubles = []
        for won, count in enumerate(self.memory.times.tolist()):
            for _ in range(count):
                self.algorithm.soften(won=bool(won))
        if done == 0:
            self.end()  # states of a run that was broken off, and is not gone on with
            self._collapsed()
            self._keep(0)

    def look(self, done: int, losses: Mapping[str, float]) -> int | None:
        """Look at the run after `done` steps, with the means of its last `losses`.

        Returns the step to which the run was taken back, or None; after `MOST` times it is left alone, as it
        is where no state is kept: a run that an edgegan began which did not watch it.
        """
        if not self.active:
            return None
        other = self._diverged(losses) or self._steep() or self._collapsed()
        what = other or self._won(losses)  # against outputs that are all alike it wins in any case
        if what is None:
            self.memory.streak.zero_()
            if not self._thin():
                self._keep(done)
            return None
        self.memory.streak += 1
        if math.isfinite(sum(losses.values())) and int(self.memory.streak) < PATIENCE:
            return None
        return self._take_back(done, what, won=other is None) if self._states() else None

    @property
    def active(self) -> bool:
        """Whether the run may be taken back once more."""
        return int(self.memory.times.sum()) < MOST

    def end(self) -> None:
        """Delete the states that were kept."""
        for file in self._states():
            remove(file)

    def _take_back(self, done: int, what: str, *, won: bool) -> int:
        states = [file for file in self._states() if _step(file) <= done]
        back = load_state(states[0], self.algorithm.parts())
        trouble = Trouble(done, what, back, self.algorithm.soften(won=won))
        self.troubles.append(trouble)
        write_json(self._file, [asdict(each) for each in self.troubles])
        _log.warning("%s", trouble)
        self.memory.times[int(won)] += 1
        self.memory.streak.zero_()
        return back

    def _diverged(self, losses: Mapping[str, float]) -> str | None:
        for name, value in losses.items():
            if not math.isfinite(value):
                return f"training diverged: the {name} loss became {value}"
        return None

    def _won(self, losses: Mapping[str, float]) -> str | None:
        for name, value in self.algorithm.undecided.items():
            if losses[name] < WON * value:
                return (
                    f"the discriminator has won: its loss is {losses[name]:.2g}, undecided it is {value:.2g}"
                )
        return None

    def _steep(self) -> str | None:
        for (name, player), known in zip(self.algorithm.players().items(), self.memory.norms):
            gradients = [each.grad for each in player.parameters if each.grad is not None]
            norm = float(nn.utils.get_total_norm(gradients))
            usual = _usual(known)
            if usual is not None and not norm <= STEEP * usual:
                return f"training diverges: the {name}'s gradients are {norm / usual:.2g} times as large"
            _remember(known, norm)
        return None

    def _collapsed(self) -> str | None:
        """Tell whether outputs are alike or astray, and remember what they are like."""
        vitals, memory = self.algorithm.vitals(), self.memory
        if vitals.spread is not None:
            usual = _usual(memory.spreads)
            if usual is not None and usual >= BEGUN and not vitals.spread >= ALIKE * usual:
                return f"the outputs have become alike: {vitals.spread:.2g} of the spread of real ones"
            _remember(memory.spreads, vitals.spread)
        if vitals.distance is not None:
            memory.distance.clamp_(max=vitals.distance)
            if not vitals.distance <= ASTRAY * float(memory.distance):
                times = vitals.distance / float(memory.distance)
                return (
                    f"the student has gone astray: it is {times:.2g} times as far from the teacher as it was"
                )
        return None

    def _thin(self) -> bool:
        """Tell whether outputs are on their way to become alike."""
        usual = _usual(self.memory.spreads)
        return usual is not None and float(self.memory.spreads[0]) < THIN * usual

    def _keep(self, done: int) -> None:
        """Keep this state and the last one before it: trouble begins before it is seen."""
        save_state(self.folder / f"well-{done:08d}.safetensors", self.algorithm.parts(), done)
        for file in [each for each in self._states() if _step(each) < done][:-1]:
            remove(file)

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("well-*.safetensors"))


def _step(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])


def _usual(known: Tensor) -> float | None:
    """Return the median of what is known; None of too little."""
    there = known[known >= 0]
    return float(there.median()) if len(there) >= KNOWN else None


def _remember(known: Tensor, value: float) -> None:
    known.copy_(known.roll(1))
    known[0] = value


def spread(outputs: Tensor, real: Tensor) -> float | None:
    """Return the mean distance of outputs (N, ...) from their nearest neighbours, over that of real ones.

    They are as many; None where real ones do not differ.
    """
    ours, theirs = (_nearest(each.float().flatten(1)) for each in (outputs, real))
    return ours / theirs if theirs > 0 else None


def _nearest(rows: Tensor) -> float:
    distances = torch.cdist(rows, rows)
    return float(distances.fill_diagonal_(math.inf).amin(1).mean())
