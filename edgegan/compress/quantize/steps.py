"""How far the stage `quantize` is."""

from __future__ import annotations

from edgegan.compress.stage import Progress


class Steps:
    """Counts the steps that are done, of as many as there may be, and tells them on.

    Args:
        progress: told after each.
        total: how many there may be; less where some turn out not to be needed.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.done, self.total = progress, 0, total

    def __call__(self) -> None:
        """Count one more."""
        self.reach(self.done + 1)

    def reach(self, done: int) -> None:
        """Set how many are done."""
        self.done = done
        self.progress(done, self.total)
