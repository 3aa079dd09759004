"""What bench/ keeps of runs that want a GPU is those runs, of the recipe and the code as they stand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgegan.compressor import Follower, compress_generator
from edgegan.files import atomic_folder
from edgegan.owned import held

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["full", "full-8x"])
def test_a_long_profile_goes_on_from_the_stages_that_are_kept(profile: str, tmp_path: Path) -> None:
    restored: dict[str, bool] = {}

    class Remember(Follower):
        def begin(self, step: str, index: int, count: int, was_restored: bool):
            restored[step] = was_restored
            return super().begin(step, index, count, was_restored)

    with held(tmp_path, "run"), atomic_folder(tmp_path / "stages") as stages:
        shutil.copytree(ROOT / "bench" / f"cifar10-{profile}", stages, dirs_exist_ok=True)
    recipe = ROOT / "recipes" / "cifar10"
    compress_generator(recipe, profile=profile, out=tmp_path, until="distill", follower=Remember())
    assert {stage: restored[stage] for stage in ("prune", "distill")} == {"prune": True, "distill": True}
