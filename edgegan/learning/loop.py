"""The loop that all learning goes through: steps, their log, and what a run that is cut off goes on from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from edgegan.errors import StageError
from edgegan.interrupts import held_back
from edgegan.learning.algorithm import Algorithm, Batch
from edgegan.learning.capture import Captured, on_device
from edgegan.learning.checkpoint import Checkpoint, Holder
from edgegan.learning.devices import average, average_gradients
from edgegan.learning.draws import Stream, derive
from edgegan.learning.log import Log
from edgegan.learning.monitor import STEPS, Monitor

LOG_EVERY = 50

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""
Observe = Callable[[int], Mapping[str, float]]
"""Called with the steps done; returns figures for the log, mostly none."""


class Loop:
    """Makes the steps of an algorithm.

    A step depends on the seed and its number alone, so that a run that was cut off goes on to the same bits.
    On a GPU steps are captured where that can be (see `Captured`), in one process.

    Args:
        algorithm: what a step is.
        fabric: the processes.
        steps: in all.
        seed: of the noise that networks draw themselves.
        checkpoint: where the state is kept.
        log: gets the means of the losses since its last row, every `log_every` steps and at the end.
        log_every: in steps.
        keep: whether a state is kept at the end as well.
        observe: called after each step, in the first process.
        monitor: takes the run back where it is in trouble; of one process alone.
        capture: whether steps may be captured.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        fabric: Fabric,
        *,
        steps: int,
        seed: int,
        checkpoint: Checkpoint,
        log: Log,
        log_every: int = LOG_EVERY,
        keep: bool = False,
        observe: Observe = lambda done: {},
        monitor: Monitor | None = None,
        capture: bool = True,
    ) -> None:
        self.algorithm, self.fabric, self.steps, self.seed = algorithm, fabric, steps, seed
        self.checkpoint, self.log, self.log_every = checkpoint, log, log_every
        self.keep, self.observe = keep, observe
        self.monitor, self._watches = monitor, fabric.world_size == 1 and steps >= 2 * STEPS
        self._look_every = math.ceil(STEPS / log_every) * log_every
        self._window = nn.Module()
        window = torch.zeros(log_every, len(algorithm.losses), device=fabric.device)
        self._window.register_buffer("losses", window)
        self._captured = (
            Captured(
                self._work,
                lambda: self._parts().values(),
                fabric.device,
                rewinds_noise=lambda: algorithm.rewinds_noise,
            )
            if capture and fabric.device.type == "cuda" and fabric.world_size == 1
            else None
        )

    @property
    def refusal(self) -> str | None:
        """Why steps cannot be captured, as far as is known by now; None where they are, or were not to be."""
        return self._captured and self._captured.refusal

    def run(self, progress: Progress = lambda done, total: None) -> None:
        """Make all steps that are left.

        A signal that ends the process is held back until the step is done and its state is kept.

        Raises:
            StageError: a loss is not finite.
            CheckpointError: the state that was kept is damaged, or of other networks.
            StorageError: a file cannot be written.
        """
        done = self.checkpoint.load(self._parts())
        self.log.resume(done)
        if self.monitor and self._watches:
            self.monitor.begin(done)
        progress(done, self.steps)
        with held_back() as stopping:
            while done < self.steps:
                self.step(done)
                done += 1
                back = self._look(done)
                if back is not None:
                    done = back
                    self.log.resume(done)
                else:
                    self._note(done)
                stop = stopping()
                if back is not None or self._due(done, stop):
                    self._save(done)
                progress(done, self.steps)
                if stop:
                    return
        if self.monitor:
            self.monitor.end()

    def step(self, step: int) -> None:
        """Make one step."""
        phase = self.algorithm.phase(step)
        batch = self.algorithm.batch(step)
        for player in self.algorithm.players().values():
            player.follow(step)
        if self.algorithm.ema:
            self.algorithm.ema.follow(step)
        index = step * self.fabric.world_size + self.fabric.global_rank
        torch.manual_seed(derive(self.seed, Stream.TORCH, index))
        if self._captured is None:
            losses = self._work(on_device(batch, self.fabric.device))
        else:
            losses = self._captured(batch, phase)
        self._window.get_buffer("losses")[step % self.log_every] = losses

    def _work(self, batch: Batch) -> Tensor:
        """Update the players and the average; return the losses, in the order of their names."""
        players, losses = self.algorithm.players(), dict[str, Tensor]()
        for update in self.algorithm.step(batch):
            player = players[update.player]
            player.optimizer.zero_grad()
            update.loss.backward()
            average_gradients(self.fabric, player.parameters)
            player.optimizer.step()
            losses |= update.losses
        if self.algorithm.ema:
            self.algorithm.ema.update()
        return torch.stack([losses[name].detach().float() for name in self.algorithm.losses])

    def _parts(self) -> dict[str, Holder]:
        watched: dict[str, Holder] = {"monitor": self.monitor.memory} if self.monitor else {}
        return {**self.algorithm.parts(), "window": self._window, **watched}

    def _look(self, done: int) -> int | None:
        """Let the monitor look, where it is time or a loss is not finite; return the step to go on from."""
        if self.monitor is None or not self._watches or done % self.log_every:
            return None
        losses = self._losses(done)
        if done % self._look_every and bool(losses.isfinite().all()):
            return None
        back = self.monitor.look(done, dict(zip(self.algorithm.losses, losses.double().mean(0).tolist())))
        if back is not None and self._captured:
            self._captured.forget()
        return back

    def _due(self, done: int, stop: bool) -> bool:
        if done == self.steps:
            return self.keep
        return stop or self.checkpoint.due(done)

    def _save(self, done: int) -> None:
        """Keep the state, which all processes share but for the window, by the first one's clock alone."""
        losses = self._losses(done)
        if self._watches and self.monitor and self.monitor.active and not bool(losses.isfinite().all()):
            return  # the monitor takes the run back at the end of the window
        if self.fabric.is_global_zero:
            self._check(losses, done)
            self.checkpoint.save(self._parts(), done)

    def _note(self, done: int) -> None:
        figures: dict[str, float] = {}
        if done % self.log_every == 0 or done == self.steps:
            losses = average(self.fabric, self._losses(done)).double().cpu()
            self._check(losses, done)
            figures |= dict(zip(self.algorithm.losses, losses.mean(0).tolist()))
        if self.fabric.is_global_zero:
            figures |= self.observe(done)
        if figures:
            self.log.add(done, figures)

    def _losses(self, done: int) -> Tensor:
        """Return the losses since the last row of the log, (steps, names)."""
        count = (done - 1) % self.log_every + 1
        return self._window.get_buffer("losses")[:count]

    def _check(self, losses: Tensor, done: int) -> None:
        for row, step in zip(losses.tolist(), range(done - len(losses), done)):
            for name, value in zip(self.algorithm.losses, row):
                if not math.isfinite(value):
                    raise StageError(
                        f"the {name} loss became {value} at step {step}",
                        where=self.algorithm.name,
                        next=self.algorithm.advice(name),
                    )
