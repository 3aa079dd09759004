"""Where the commands print."""

from __future__ import annotations

import sys

from rich.console import Console

PIPED_WIDTH = 120


def output(*, quiet: bool = False) -> Console:
    """Return a console on standard output, wide enough for every column where that is no terminal."""
    return Console(quiet=quiet, width=None if sys.stdout.isatty() else PIPED_WIDTH)
