"""Progress of long work: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 15.0
"""Seconds between the lines of a step that lasts, where there is no terminal."""


class Steps:
    """Shows one step after another on `console`. A context: it ends the last step when it is left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._label, self._start, self._last = "", 0.0, 0.0

    def __enter__(self) -> Steps:
        if self.console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError) if kind else nullcontext():  # a terminal that was closed
            self._end(well=kind is None)
            self._bars.stop()

    def start(self, label: str) -> Callable[[int, int], None]:
        """End the step before and begin another; return what is called with (done, total)."""
        self._end(well=True)
        self._label = label
        self._start = self._last = time.monotonic()
        if self.console.is_terminal:
            self._task = self._bars.add_task(label, total=None)
        else:
            self._print(f"{label} ...")
        return self._report

    def line(self, text: str) -> None:
        """End the step before, and print a line."""
        self._end(well=True)
        self.console.print(text, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line, while the step goes on."""
        self.console.print(f"  {text}", soft_wrap=True, highlight=False)

    def _report(self, done: int, total: int) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total)
            return
        now = time.monotonic()
        if self._label and 0 < done < total and now - self._last >= LINE_SECONDS:
            self._last = now
            left = (now - self._start) * (total - done) / done
            self._print(f"{self._label}: {done / total:.0%}, about {left:.0f} s left")

    def _end(self, *, well: bool) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        if self._label:
            seconds = time.monotonic() - self._start
            self._print(
                f"{self._label}: {seconds:.1f} s" if well else f"{self._label}: stopped after {seconds:.1f} s"
            )
            self._label = ""

    def _print(self, text: str) -> None:
        self.console.print(text)
