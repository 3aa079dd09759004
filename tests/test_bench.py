"""What bench/ keeps of runs that want a GPU is those runs, of the recipe and the code as they stand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from edgegan.compressor import Follower, compress_generator
from edgegan.files import atomic_folder
from edgegan.owned import held

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["full", "full-8x"])
def test_a_long_profile_goes_on_from_the_stages_that_are_kept(profile: str, tmp_path: Path) -> None:
    found: dict[str, bool] = {}

    class Remember(Follower):
        def begin(self, step: str, index: int, count: int, restored: bool):
            found[step] = restored
            return super().begin(step, index, count, restored)

    with held(tmp_path, "run"), atomic_folder(tmp_path / "stages") as stages:
        shutil.copytree(ROOT / "bench" / f"cifar10-{profile}", stages, dirs_exist_ok=True)
    recipe = ROOT / "recipes" / "cifar10"
    compress_generator(recipe, profile=profile, out=tmp_path, until="distill", follower=Remember())
    assert {stage: found[stage] for stage in ("prune", "distill")} == {"prune": True, "distill": True}


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "bench")
    monkeypatch.delitem(sys.modules, "families", raising=False)
    return import_module("families")


def said(better: str, title: str, full: float | None, int8: float, fewer: float = 5) -> dict[str, Any]:
    """What is kept of a run: `fewer` times fewer MACs, and both figures."""
    figures = {"full": full and [full] * 3, "int8": [int8] * 3}
    macs = {"full": 1000 * fewer, "int8": 1000}
    rows = {name: {"macs": macs[name], "figure": figures[name]} for name in macs}
    return {"better": better, "figure": title, **rows}


def test_the_page_of_the_recipes_networks_is_that_of_what_is_kept(families: Any) -> None:
    assert families.PAGE.read_text() == families.markdown(json.loads(families.KEPT.read_text()))


@pytest.mark.parametrize(
    ("run", "met"),
    [
        (said("lower", "FID-10k", 1.0, 1.09), True),
        (said("lower", "FID-10k", 1.0, 1.11), False),
        (said("higher", "Playable", 1.0, 0.91), True),
        (said("higher", "Playable", 1.0, 0.89), False),
        (said("higher", "PSNR, dB", None, 35.1), True),
        (said("higher", "PSNR, dB", None, 34.9), False),
        (said("lower", "Distance, dB", None, 40.0), False),
        (said("lower", "FID-10k", 1.0, 1.0, fewer=3.9), False),
    ],
)
def test_the_goal_of_the_recipes_networks(families: Any, run: dict[str, Any], met: bool) -> None:
    assert families.meets_goal(run) is met


def test_the_generators_of_the_int8_table_load(shared: Path, tmp_path: Path) -> None:
    load = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import int8_models; "
        "print([*int8_models.MODELS.values()][3](*map(Path, sys.argv[2:])).module.__class__.__name__)"
    )
    words = [sys.executable, "-c", load, str(ROOT / "bench"), str(shared), str(tmp_path)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ran.stdout == "Generator\n"
