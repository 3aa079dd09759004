"""The floors of the house: who may import whom, as pyproject.toml says."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINT_IMPORTS = Path(sysconfig.get_path("scripts"), "lint-imports")


def test_the_floors_hold() -> None:
    """In a process of its own, since it sets up logging anew and closes the handlers that are there."""
    done = subprocess.run([LINT_IMPORTS, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
