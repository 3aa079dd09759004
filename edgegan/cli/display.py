"""What a run shows while it works: bars with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgegan.compressor import Follower

if TYPE_CHECKING:
    from edgegan.compress.lint import Finding
    from edgegan.compress.stage import Progress as Report

LINE_SECONDS = 15.0
"""Seconds between the lines of a step that lasts, where there is no terminal."""
COLOURS = {"error": "red", "warning": "yellow", "info": "dim"}


def show_findings(console: Console, findings: Sequence[Finding], *, hidden: Sequence[str] = ()) -> None:
    """Print lint's findings, but for those of the levels `hidden`."""
    for finding in findings:
        if finding.level in hidden:
            continue
        layer = f" {finding.layer}:" if finding.layer else ""
        style = COLOURS[finding.level]
        console.print(f"[{style}]{finding.level}[/]:{layer} {finding.what}: {finding.why}", highlight=False)
        if finding.next:
            console.print(f"  next: {finding.next}", highlight=False)


class Display(Follower):
    """Shows each step of a run on `console`. A context: it ends the last step when it is left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._label, self._start, self._last = "", 0.0, 0.0

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(well=kind is None)
        self._bars.stop()

    def findings(self, findings: Sequence[Finding]) -> None:
        """Print warnings and errors; the page of the run has the rest too."""
        show_findings(self.console, findings, hidden=("info",))

    def begin(self, step: str, index: int, count: int, restored: bool) -> Report:
        """End the step before, and show that this one begins."""
        self._end(well=True)
        self._label, self._start = f"[{index}/{count}] {step}", time.monotonic()
        self._last = self._start
        if restored:
            self.console.print(f"{self._label}: done before", markup=False, highlight=False)
            self._label = ""
        elif self.console.is_terminal:
            self._task = self._bars.add_task(f"{step:<9}", total=None)
        return self._report

    def _report(self, done: int, total: int) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total)
            return
        now = time.monotonic()
        if self._label and 0 < done < total and now - self._last >= LINE_SECONDS:
            self._last = now
            left = (now - self._start) * (total - done) / done
            line = f"{self._label}: {done / total:.0%}, about {left:.0f} s left"
            self.console.print(line, markup=False, highlight=False)

    def _end(self, *, well: bool) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        if self._label:
            seconds = time.monotonic() - self._start
            state = f"{seconds:.1f} s" if well else f"stopped after {seconds:.1f} s"
            self.console.print(f"{self._label}: {state}", markup=False, highlight=False)
            self._label = ""
