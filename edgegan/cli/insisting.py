"""A second Ctrl-C ends a command that native code keeps from hearing the first."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edgegan.cli.console import say
from edgegan.cli.failures import stopped
from edgegan.interrupts import ENDING

UNHEARD_S = 1.0
"""After so long at one place of Python's, the signal was not heard."""


@contextmanager
def insisted(words: Sequence[str]) -> Iterator[None]:
    """End the process at the second signal that is not heard, as while an engine computes without an end.

    Files are written whole or not at all, so that nothing is lost but what was being computed.

    Args:
        words: of the command, without its name.
    """
    if threading.current_thread() is not threading.main_thread() or os.name != "posix":
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(reading, ended, words), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()
        os.close(reading)


def _watch(reading: int, ended: threading.Event, words: Sequence[str]) -> None:
    """Look at each signal, until the other end of the pipe is closed, whether it was heard."""
    told = False
    while number := os.read(reading, 1):
        if number[0] not in (signal.SIGINT, *ENDING):
            continue
        place = _place()
        if ended.wait(UNHEARD_S) or _place() != place:
            continue
        if told:
            stopped(words)
            os._exit(128 + number[0])
        told = True
        say("\nstopping when this computation ends; once more ends it at once", errors=True)


def _place() -> tuple[int, int] | None:
    """Return where the main thread is in its code."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return (id(frame), frame.f_lasti) if frame else None
