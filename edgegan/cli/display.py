"""What a run shows while it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from edgegan.cli.progress import Steps
from edgegan.compressor import Follower

if TYPE_CHECKING:
    from edgegan.compress.lint import Finding
    from edgegan.compress.stage import Progress

COLOURS = {"error": "red", "warning": "yellow", "info": "dim"}


def show_findings(console: Console, findings: Sequence[Finding], *, hidden: Sequence[str] = ()) -> None:
    """Print lint's findings, but for those of the levels `hidden`."""
    for finding in findings:
        if finding.level in hidden:
            continue
        console.print(finding.level, style=COLOURS[finding.level], end=": ")
        layer = f"{finding.layer}: " if finding.layer else ""
        console.print(f"{layer}{finding.what}: {finding.why}", soft_wrap=True)
        if finding.next:
            console.print(f"  next: {finding.next}", soft_wrap=True)


class Display(Follower):
    """Shows each step of a run."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def findings(self, findings: Sequence[Finding]) -> None:
        """Print warnings and errors; `lint.json` and the page have the rest too."""
        show_findings(self.steps.console, findings, hidden=("info",))

    def say(self, text: str) -> None:
        """Print a line, while the step goes on."""
        self.steps.note(text)

    def begin(self, step: str, index: int, count: int, restored: bool) -> Progress:
        """End the step before, and show that this one begins, or is restored."""
        label = f"[{index}/{count}] {step}"
        if restored:
            self.steps.line(f"{label}: done before")
            return lambda done, total: None
        return self.steps.start(label)
