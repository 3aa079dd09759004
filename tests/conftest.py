"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


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
