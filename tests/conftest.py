"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Let signals do what they do in a terminal, also where `nohup` or a background job has them ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and generators: `$EDGEGAN_SHARED`, else one beside or in the repo."""
    named = os.environ.get("EDGEGAN_SHARED")
    places = [Path(named)] if named else [ROOT.parent / "shared" / "data", ROOT / "shared" / "data"]
    for place in places:
        if (place / "SHA256SUMS").is_file():
            return place
    pytest.skip(f"the shared data is absent: looked in {', '.join(map(str, places))}; set EDGEGAN_SHARED")


@pytest.fixture
def small_recipe(tmp_path: Path) -> Path:
    """The folder of a recipe small enough to compress in a test. Only this fixture needs torch."""
    from small_recipe import write_recipe

    return write_recipe(tmp_path / "small")


@pytest.fixture
def figures() -> dict[str, Any]:
    """What a made run's `figures.json` holds, to be changed by a test."""
    from made_run import make_figures

    return make_figures().to_dict()


@pytest.fixture
def folder_of(tmp_path: Path) -> Callable[..., Path]:
    """Make a run folder from what `figures.json` holds, and fields of its description."""
    from made_run import make_run

    from edgegan.run.figures import Figures

    return lambda figures=None, **run: make_run(
        tmp_path / "made", Figures.from_dict(figures) if figures else None, **run
    )


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run folder such as `edgegan compress` leaves."""
    from made_run import make_run

    return make_run(tmp_path / "runs" / "cifar10")
