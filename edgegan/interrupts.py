"""Ctrl-C, SIGTERM and SIGHUP end work alike; training ends between two steps, and keeps what it learnt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal told this process to end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"signal {number}")


@contextmanager
def raised() -> Iterator[None]:
    """Raise `Stopped` on SIGTERM and SIGHUP, but for those that are ignored, as under `nohup`, or handled."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    with _handled(stop, [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]):
        yield


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Hold back a signal that would end the process until the block ends; a second one is not held back.

    What is given tells whether one came: the block is then to keep what it has, and to end.

    Raises:
        Stopped: a signal came, and whoever handles it would have let the work go on.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            raise Stopped(number)

    heeded = [one for one in (signal.SIGINT, *ENDING) if signal.getsignal(one) is not signal.SIG_IGN]
    with _handled(note, heeded), suppress(Stopped):
        yield lambda: bool(came)
    if came:
        signal.raise_signal(came[0])
        raise Stopped(came[0])


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], numbers: Sequence[int]) -> Iterator[None]:
    """Handle signals within the block; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)
