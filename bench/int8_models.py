"""The generators of int8.py and ablation.py, and the samples that each is calibrated on and judged by."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import full_run
from torch import nn

from edgegan.compress.load import load_module
from edgegan.runtime.contract import Contract

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "runs" / "bench-int8"

sys.path.insert(0, str(ROOT / "tests"))


class AbsentError(Exception):
    """What a generator needs is not here; the message says what."""


@dataclass(frozen=True)
class Subject:
    """A generator, and the contracts whose samples it is calibrated on and judged by."""

    module: nn.Module
    calibrating: Contract
    judging: Contract


Load = Callable[[Path, Path], Subject]
"""Takes the folder of third-party networks, and a folder to write photographs into."""


def _student(data: Path, folder: Path) -> Subject:
    contract = full_run.recipe(full_run.EIGHTH).contract
    return Subject(full_run.student(full_run.EIGHTH), contract, contract)


def _teacher(data: Path, folder: Path) -> Subject:
    recipe = full_run.recipe(full_run.EIGHTH)
    return Subject(load_module(recipe.model, recipe.folder), recipe.contract, recipe.contract)


def _third_party(name: str, size: int | None = None) -> Load:
    """Return what loads a generator of tests/zoo; with `size`, its inputs are crops of photographs."""

    def load(data: Path, folder: Path) -> Subject:
        if not (data / "SHA256SUMS").is_file():
            raise AbsentError("the folder of third-party networks: name it with --data")
        generator = import_module(f"zoo.{name}")
        module, contract = generator.load(data).requires_grad_(False), generator.CONTRACT
        if size is None:
            return Subject(module, contract, contract)
        stored_contract = import_module("zoo.stored").stored_contract
        return Subject(
            module,
            stored_contract(name, data, folder / "monet", size, "monet"),
            stored_contract(name, data, folder / "set14", size, "set14"),
        )

    return load


MODELS: dict[str, Load] = {
    "CIFAR-10 student": _student,
    "CIFAR-10 teacher": _teacher,
    "CelebA DCGAN": _third_party("celeba_dcgan"),
    "SRGAN x4": _third_party("srgan", size=24),
    "Real-ESRGAN video x4": _third_party("realesr_video", size=32),
    "candy": _third_party("candy", size=60),
}


def rows(about: str | None, figures: Callable[[Subject, Path], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures of each generator, or what it needs where that is `absent`; reads the command line.

    Args:
        about: the command's docstring.
        figures: returns what the row of a generator says, and may write into the folder given.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    default = Path(os.environ.get("EDGEGAN_SHARED", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default, help="folder of third-party networks")
    data = parser.parse_args().data
    found = []
    for name, load in MODELS.items():
        print(name, flush=True)
        folder = FILES / name.lower().replace(" ", "-")
        try:
            found.append({"name": name, **figures(load(data, folder), folder)})
        except AbsentError as reason:
            found.append({"name": name, "absent": str(reason)})
    return found
