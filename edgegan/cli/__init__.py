"""The command `edgegan`: one verb a file, each imported when it is called."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from edgegan.cli.console import prepare, say
from edgegan.cli.failures import reported
from edgegan.cli.insisting import insisted
from edgegan.errors import InputError
from edgegan.interrupts import raised
from edgegan.version import __version__

VERBS = {
    "init": (
        "init",
        "Write a recipe for your own network. Runs FILE.py, in a process under limits of time and memory.",
    ),
    "compress": ("compress", "Compress a recipe's generator, measure the result and bundle it."),
    "lint": ("lint", "Say what will not prune, quantize or deploy well, before any training."),
    "report": ("report", "Write RUN/report.html: what a run achieved, on one page that needs no network."),
    "generate": ("generate", "Make samples with BUNDLE and write them to a file."),
    "bench": ("bench", "Measure latency, throughput and quality of BUNDLEs here; compare two records."),
    "build": ("build", "Build TensorRT engines for this machine from BUNDLE's models, into it."),
    "inspect": ("inspect", "Show what a bundle holds, how it was made, and its figures; verified first."),
    "targets": ("targets", "List the devices that edgegan knows, or show one with its figures and sources."),
    "doctor": ("doctor", "Say which engines this machine can run, and how to get the others."),
    "train": ("train", "Train a recipe's teacher."),
    "train-features": ("train_features", "Train a feature extractor on labelled images."),
}
"""Verb to (its file, and function, in this folder; one line of help)."""
COMPLETES = "_EDGEGAN_COMPLETE"
"""Set by a shell that completes what was typed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; ends in `SystemExit`: 0, 1 (our bug), 2 (a user's mistake), 128 + a signal."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    prepare()
    with raised(), insisted(words), _hushed(), _caches(), reported(words):
        if not all(word.strip() and not re.fullmatch(r"--[a-z-]+=\s*", word) for word in words):
            raise InputError("one of the arguments is empty", next="give it a value, or leave it out")
        try:
            _app(_verb(words), words)(args=words, prog_name="edgegan")
        finally:
            sys.stdout.flush()


def _verb(words: Sequence[str]) -> str | None:
    """Return the verb that was given, or that a shell completes the options of."""
    typed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS")
    if typed and COMPLETES in os.environ:
        words = typed.split()[1:]
    return next((word for word in words if not word.startswith("-")), None)


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep back what packages log, and warn programmers of, unless Python was told to show it."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)


@contextmanager
def _caches() -> Iterator[None]:
    """Keep Matplotlib's caches, where it has none yet, out of the home; they go when the command ends."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "matplotlib"
    if "MPLCONFIGDIR" in os.environ or cache.exists():
        yield
        return
    with TemporaryDirectory(prefix="edgegan-", ignore_cleanup_errors=True) as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]


def _app(verb: str | None, words: Sequence[str]) -> typer.Typer:
    """Return the command, with `verb` as it is and the other verbs as their lines of help."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Compress trained GANs for edge devices, prove what it cost, and deploy them.",
    )
    app.callback()(_options)
    for name, (file, summary) in VERBS.items():
        called = name == verb
        app.command(name, help=None if called else summary)(_loaded(file, words) if called else _stub)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"edgegan {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Take the options that stand before a verb."""


def _stub() -> None:
    """Stand for a verb that was not called."""


def _loaded(file: str, words: Sequence[str]) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(importlib.import_module(f"edgegan.cli.{file}"), file)

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> Any:
        with reported(words, as_json=bool(options.get("json"))):
            return function(*arguments, **options)

    return guarded
