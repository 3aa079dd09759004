"""What a command prints when it fails, and its exit code."""

from __future__ import annotations

import shlex
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import typer

from edgegan.cli.console import say, say_json, silence
from edgegan.errors import EdgeganError, MissingDependency
from edgegan.files import refusal
from edgegan.interrupts import Stopped

EXTRAS = {
    "onnxruntime": ("onnxruntime", "PIL"),
    "tensorrt": ("tensorrt_rtx", "cuda"),
    "measure": ("scipy", "psutil"),
    "compress": (
        *("torch", "torchao", "neural_compressor", "lightning_fabric"),
        *("onnx", "onnxscript", "pydantic", "yaml", "safetensors", "jinja2", "matplotlib"),
    ),
}
"""The extra that installs each optional package."""
RESUMED = ("compress", "train")
"""The verbs that go on where they were stopped."""
NO_READER = 128 + 13
"""The exit code of what SIGPIPE ends."""


@contextmanager
def reported(words: Sequence[str], *, as_json: bool = False) -> Iterator[None]:
    """Turn what goes wrong inside into a message of one screen and `SystemExit`.

    Args:
        words: of the command, without its name: what Ctrl-C says to type again.
        as_json: print the error as JSON on standard output, in place of the message on standard error.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        stopped(words)
        raise SystemExit(128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)) from None
    except BrokenPipeError:
        silence()
        raise SystemExit(NO_READER) from None
    except typer.Exit:
        raise
    except EdgeganError as error:
        raise SystemExit(_show(error, as_json)) from None
    except Exception as error:
        known = refusal(error) or _missing(error)
        if known:
            raise SystemExit(_show(known, as_json)) from None
        say(traceback.format_exc().rstrip(), errors=True)
        bug = EdgeganError(
            f"{type(error).__name__}: {error}",
            next="this is a bug in edgegan: please report it, with the lines above",
        )
        raise SystemExit(_show(bug, as_json)) from None


def stopped(words: Sequence[str]) -> None:
    """Say that the command was stopped, and how to go on where it can."""
    again = f"; go on with:  {shlex.join(['edgegan', *words])}" if words and words[0] in RESUMED else ""
    with suppress(OSError):  # a terminal that was closed
        say(f"\nstopped{again}", errors=True)


def _missing(error: Exception) -> MissingDependency | None:
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
    return MissingDependency(package, extra=extra, purpose="this command") if extra else None


def _show(error: EdgeganError, as_json: bool) -> int:
    if as_json:
        content = {"type": type(error).__name__, "what": error.what, "where": error.where, "next": error.next}
        say_json({"error": content})
    else:
        say(f"error: {error}", errors=True)
    return error.exit_code
