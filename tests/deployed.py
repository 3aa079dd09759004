"""The generators whose files bench/int8.py compares: the recipe's, and third-party ones as published."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from edgegan.compress.load import load_module
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.recipe import Recipe
from edgegan.runtime.contract import Contract

RECIPE = Path(__file__).parents[1] / "recipes" / "cifar10"
NAMES = ("cifar10_student", "cifar10_teacher", "celeba_dcgan", "srgan", "realesr_video", "candy")


def _small(contract: Contract) -> Contract:
    """Return a contract of pictures with half their height and width: kernels are the same at any size."""
    if len(contract.inputs[0].shape) != 3:
        return contract
    inputs, outputs = (
        tuple(
            replace(spec, shape=(spec.shape[0], *(length // 2 for length in spec.shape[1:]))) for spec in of
        )
        for of in (contract.inputs, contract.outputs)
    )
    return Contract(inputs, outputs)


def candidate(name: str, request: pytest.FixtureRequest, folder: Path) -> Candidate:
    """Return a generator, ready for `quantize` or `export`; the student is pruned only."""
    if not name.startswith("cifar10"):
        zoo = import_module(f"zoo.{name}")
        module = zoo.load(request.getfixturevalue("shared"))
        return Candidate(module, module, _small(zoo.CONTRACT))
    recipe = Recipe.read(RECIPE)
    teacher = load_module(recipe.model, RECIPE)
    full = Candidate(teacher, teacher, recipe.contract)
    if name == "cifar10_teacher":
        return full
    return Prune(PruneSettings(macs=0.125, align=8, scope="uniform", reconstruct=False)).run(
        full, Context(folder)
    )
