"""What bench/ keeps of a run that wants a GPU is that run, of the recipe and the code as they stand."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgegan.compressor import Follower, compress_generator

ROOT = Path(__file__).parents[1]


def test_the_full_profile_goes_on_from_the_stages_that_are_kept(tmp_path: Path) -> None:
    restored: dict[str, bool] = {}

    class Remember(Follower):
        def begin(self, step: str, index: int, count: int, was_restored: bool):
            restored[step] = was_restored
            return super().begin(step, index, count, was_restored)

    shutil.copytree(ROOT / "bench" / "cifar10-full", tmp_path / "stages")
    recipe = ROOT / "recipes" / "cifar10"
    compress_generator(recipe, profile="full", out=tmp_path, until="distill", follower=Remember())
    assert restored == {"prune": True, "distill": True}
