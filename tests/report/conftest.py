"""Fixtures of the report's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_run import make_figures, make_run


@pytest.fixture
def figures() -> dict[str, Any]:
    return make_figures()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "cifar10")


@pytest.fixture
def folder_of(tmp_path: Path) -> Callable[..., Path]:
    """Make a run folder from figures and fields of run.json."""
    return lambda figures=None, **run: make_run(tmp_path / "made", figures, **run)
