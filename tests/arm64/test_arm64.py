"""INT8 files give the same images on arm64 as on x64; on x64 without VNNI only with 7-bit weights.

A step is that of an image's 256 levels: the range of the output divided by 255.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
from numpy.typing import NDArray
from run_models import run_model
from torch import nn

from edgegan.compress.load import load_module
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.recipe import Recipe
from edgegan.runtime.contract import Arrays, Contract
from edgegan.target import Target

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "zoo"))

pytestmark = [pytest.mark.arm64, pytest.mark.slow, pytest.mark.usefixtures("root")]
STEP = 2 / 255
PLAIN: dict[str, Any] = {"quality": {}, "equalize": False, "gptq": False, "bias_correction": False}
"""What is tried to come nearer to the float outputs takes time, and engines do not see it."""


@pytest.fixture(scope="session")
def root() -> Path:
    try:
        return emulated.prepare()
    except emulated.UnavailableError as reason:
        if "CI" in os.environ:
            raise
        pytest.skip(str(reason))


@pytest.fixture(scope="session", params=["cifar10", "celeba_dcgan"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of one generator, and their contracts."""
    if request.param == "cifar10":
        recipe = Recipe.read(ROOT / "recipes" / "cifar10")
        module, contract = load_module(recipe.model, recipe.folder), recipe.contract
    else:
        import celeba_dcgan

        module, contract = celeba_dcgan.load(request.getfixturevalue("shared")), celeba_dcgan.CONTRACT
    folder = tmp_path_factory.mktemp(request.param)
    make_files(module, contract, folder)
    for path in folder.glob("*.onnx"):
        path.with_suffix(".json").write_text(json.dumps(contract.to_dict()))
    return folder


def make_files(module: nn.Module, contract: Contract, folder: Path) -> None:
    for files in ({"unsigned-7": "x64-cpu", "signed-8": "arm64-cpu"}, {"unsigned-8": "x64-cpu-vnni"}):
        settings = QuantizeSettings(targets=tuple(files.values()), calibrator="mse", samples=32, **PLAIN)
        made = Quantize(settings).run(Candidate(module, module, contract), Context(folder))
        for name, target in files.items():
            made.files[Target.read(target).int8_key].rename(folder / f"{name}.onnx")


@pytest.fixture(scope="module", params=[*emulated.ARM64, emulated.AVX2])
def cpu(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def results(root: Path, models: Path, cpu: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each of the files gave on `cpu`."""
    folder = tmp_path_factory.mktemp(cpu)
    emulated.run(root, cpu, Path(__file__).with_name("run_models.py"), models, folder, path=ROOT)
    return folder


def compare(name: str, models: Path, results: Path) -> tuple[Arrays, Arrays, NDArray[np.float64]]:
    """Return what the file gave here and there, and how many steps its images are apart."""
    here = run_model(models / f"{name}.onnx")
    there = dict(np.load(results / f"{name}.npz"))
    return here, there, np.abs(here["image"].astype(np.float64) - there["image"]) / STEP


@pytest.mark.parametrize("name", ["unsigned-7", "signed-8"])
def test_the_same_images_as_here(name: str, models: Path, results: Path) -> None:
    here, there, steps = compare(name, models, results)
    assert here.keys() == there.keys()
    for key in here.keys() - {"image", "pictures"}:
        np.testing.assert_array_equal(here[key], there[key])
    assert np.ptp(here["image"]) > 1
    assert steps.max() <= 1
    assert np.abs(here["pictures"].astype(int) - there["pictures"]).max() <= 1


def test_only_x64_without_vnni_needs_seven_bits(models: Path, results: Path, cpu: str) -> None:
    signed = np.load(results / "signed-8.npz")["image"]
    unsigned = np.load(results / "unsigned-8.npz")["image"]
    near = np.mean(np.abs(signed - unsigned) <= STEP)
    assert near < 0.9 if cpu == emulated.AVX2 else near == 1
