"""The full profile of recipes/cifar10: what is kept of it in bench/cifar10-full, since it wants a GPU."""

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
KEPT = ROOT / "bench" / "cifar10-full"
"""The pruning and the distillation, as a run leaves them in its folder `stages`."""
RUN = ROOT / "runs" / "cifar10-full"


def recipe() -> Recipe:
    """Return the recipe with its full profile."""
    return Recipe.read(ROOT / "recipes" / "cifar10", "full")


def student() -> nn.Module:
    """Return the distilled student, in float."""
    full = recipe()
    module = structure.load(load_module(full.model, full.folder), KEPT / "02-distill")
    return module.eval().requires_grad_(False)


def begin() -> None:
    """Let the run go on from the kept stages, unless it has been begun."""
    if not RUN.exists():
        with held(RUN, "run"), atomic_folder(RUN / "stages") as folder:
            shutil.copytree(KEPT, folder, dirs_exist_ok=True)
