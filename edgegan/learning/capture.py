"""Steps on a GPU, captured once as a CUDA graph and replayed: one launch in place of thousands."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgegan.learning.algorithm import Batch
from edgegan.learning.checkpoint import Holder
from edgegan.learning.devices import to_device
from edgegan.learning.draws import rewind_noise

WARM_UP = 3
"""Steps before a capture, as torch asks for; what they change is undone."""
_log = logging.getLogger(__name__)

Work = Callable[[Batch], Tensor]
"""A step's work on the device: from a batch there to the step's losses."""


class _Capture(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: Batch
    losses: Tensor


class Captured:
    """Does `work` by replaying it; piece by piece where it cannot be captured, with a line in the log.

    A work is captured where it reads nothing from the device, its shapes do not change, and the networks do
    not have to draw the same noise twice (`rewinds_noise`).

    Args:
        work: one step.
        state: gives all that has a state which `work` changes.
        device: a CUDA device.
        rewinds_noise: see `Algorithm`.
    """

    def __init__(
        self,
        work: Work,
        state: Callable[[], Iterable[Holder]],
        device: torch.device,
        *,
        rewinds_noise: Callable[[], bool],
    ) -> None:
        self.work, self.state, self.device, self.rewinds_noise = work, state, device, rewinds_noise
        self.refusal: str | None = None
        """Why steps are not captured."""
        self._captures: dict[int, _Capture] = {}
        self._stream = torch.cuda.Stream(device)

    def __call__(self, batch: Batch, phase: int) -> Tensor:
        """Do the work of a batch on the CPU; each phase is captured once."""
        if self.refusal is None and phase not in self._captures:
            self._capture(batch, phase)
        if self.refusal is not None:
            return self.work(on_device(batch, self.device))
        captured = self._captures[phase]
        for name, tensors in batch.items():
            for static, tensor in zip(captured.inputs[name], tensors):
                static.copy_(tensor.pin_memory(), non_blocking=True)
        captured.graph.replay()
        return captured.losses

    def forget(self) -> None:
        """Capture anew from here on, since what has a state was loaded or learns in another way."""
        self._captures.clear()

    def _capture(self, batch: Batch, phase: int) -> None:
        inputs = on_device(batch, self.device)
        before = [(tensor, tensor.detach().clone()) for tensor in _tensors(self.state())]
        current, graph = torch.cuda.current_stream(self.device), torch.cuda.CUDAGraph()
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                for index in range(WARM_UP):
                    rewind_noise()
                    with _refusing_reads(index == WARM_UP - 1):
                        self.work(inputs)
            if self.rewinds_noise():
                raise RuntimeError("the networks draw noise, which is to be the same for both of them")
            with torch.cuda.graph(graph, stream=self._stream):
                losses = self.work(inputs)
            self._captures[phase] = _Capture(graph, inputs, losses)
        except RuntimeError as error:
            self.refusal = _reason(error)
            _log.info("steps are launched piece by piece, since they cannot be captured: %s", self.refusal)
            torch.cuda.set_stream(current)  # a capture that fails leaves its own stream and generator behind
            generator = torch.cuda.default_generators[self._stream.device_index]
            generator.graphsafe_set_state(torch.Generator(self.device).graphsafe_get_state())
        torch.cuda.synchronize(self.device)
        _restore(before, _tensors(self.state()))
        rewind_noise()


@contextmanager
def _refusing_reads(on: bool) -> Iterator[None]:
    """Raise where the CPU waits for the device, which would break a capture off."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype", UserWarning)
        torch.cuda.set_sync_debug_mode("error" if on else before)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _reason(error: BaseException) -> str:
    """Return the first line of the error that came first."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).strip().partition("\n")[0] or type(error).__name__


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch from the CPU to `device`."""
    return {name: tuple(to_device(tensor, device) for tensor in tensors) for name, tensors in batch.items()}


@torch.no_grad()
def _restore(before: list[tuple[Tensor, Tensor]], now: list[Tensor]) -> None:
    """Set the tensors back; those that were not there yet, which optimizers made, begin with zeros."""
    known = {id(tensor) for tensor, _ in before}
    for tensor, value in before:
        tensor.copy_(value)
    for tensor in now:
        if id(tensor) not in known:
            tensor.zero_()


def _tensors(holders: Iterable[Holder]) -> list[Tensor]:
    found: list[Tensor] = []
    for holder in holders:
        if isinstance(holder, nn.Module):
            found += [*holder.parameters(), *holder.buffers()]
        else:
            found += [value for state in holder.state.values() for value in state.values()]
    return found
