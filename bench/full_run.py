"""The long profiles of recipes/cifar10: what bench/ keeps of them, since their distillation wants a GPU."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import nn

from edgegan.compress import structure
from edgegan.compress.load import load_module
from edgegan.files import atomic_folder
from edgegan.owned import held
from edgegan.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
FULL, EIGHTH = "full", "full-8x"
"""The profiles: 20 times fewer MACs, and 8 times, which the benchmarks of INT8 and of GPUs take."""


def recipe(profile: str) -> Recipe:
    """Return the recipe with a long profile."""
    return Recipe.read(ROOT / "recipes" / "cifar10", profile)


def kept(profile: str) -> Path:
    """Return the folder of a profile's pruning and distillation, as they lay in the run's `stages`."""
    return ROOT / "bench" / f"cifar10-{profile}"


def folder(profile: str) -> Path:
    """Return the run folder of a profile."""
    return ROOT / "runs" / f"cifar10-{profile}"


def student(profile: str) -> nn.Module:
    """Return a profile's distilled student, in float."""
    read = recipe(profile)
    module = structure.load(load_module(read.model, read.folder), kept(profile) / "02-distill")
    return module.eval().requires_grad_(False)


def begin(profile: str) -> None:
    """Let a run go on from the kept stages, unless it has been begun."""
    run = folder(profile)
    if not run.exists():
        with held(run, "run"), atomic_folder(run / "stages") as stages:
            shutil.copytree(kept(profile), stages, dirs_exist_ok=True)
