"""Where the commands print. What would steer a terminal never reaches one: it is shown as its code."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

PIPED_WIDTH = 120


def printable(text: str) -> str:
    r"""Return `text` with what is not to be seen as its code, as `\x1b`, but for tabs and ends of lines."""
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode()
        for sign in text
    )


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def output(*, quiet: bool = False) -> Console:
    """Return a console on standard output, wide enough for every column where that is no terminal."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return _Console(quiet=quiet, width=width, markup=False, emoji=False, highlight=False)


def say(text: str, *, errors: bool = False) -> None:
    """Print a line on standard output, or on standard error."""
    print(printable(text), file=sys.stderr if errors else sys.stdout)


def say_json(content: Any) -> None:
    """Print `content` as JSON, in ASCII."""
    say(json.dumps(content, indent=2))


def prepare() -> None:
    """Open the standard streams that were closed, and let none fail over a character that it lacks."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence() -> None:
    """Let nothing more be written to standard output: nobody reads it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
