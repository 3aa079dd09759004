"""`compress_module`: the main job for a module in memory, without a recipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from edgegan.compress import fingerprint
from edgegan.compress.cost import count
from edgegan.compress.generator import prepare
from edgegan.compress.lint import Finding, lint
from edgegan.compress.stage import Candidate, Progress, Stage
from edgegan.compress.stages import build_stages
from edgegan.compressor import Follower, Job, Run
from edgegan.errors import InputError, ModelError
from edgegan.init.first_stages import Settings, first_samples, first_stages, fitting
from edgegan.init.from_examples import FILE, Described, collected, describe
from edgegan.init.stored import write_arrays
from edgegan.module_copy import copy_of
from edgegan.owned import held
from edgegan.recipe import Recipe
from edgegan.runtime.contract import Contract
from edgegan.target import seen_from


class Printed(Follower):
    """Prints what a run does, and what lint warns of, on standard error."""

    def findings(self, findings: Sequence[Finding]) -> None:
        """Print warnings and errors."""
        for finding in findings:
            if finding.level != "info":
                print(f"{finding.level}: {finding.what}: {finding.why}", file=sys.stderr)

    def begin(self, step: str, index: int, count: int, restored: bool) -> Progress:
        """Print that a step begins, and a line at each tenth of it."""
        print(f"[{index}/{count}] {step}{': done before' if restored else ''}", file=sys.stderr)
        tenths = 0

        def progress(done: int, total: int) -> None:
            nonlocal tenths
            reached = 10 * done // max(total, 1)
            if tenths < reached < 10:
                print(f"[{index}/{count}] {step}: {reached}0%", file=sys.stderr)
            tenths = max(tenths, reached)

        return progress


def compress_module(
    module: nn.Module,
    contract_or_examples: Contract | Mapping[str, Any] | Sequence[Any] | Any,
    *,
    target: str | Sequence[str] = "x64-cpu",
    calibration: Any = None,
    out: str | Path,
    stages: Sequence[Stage] | None = None,
    noise: Literal["fixed", "mean"] | None = None,
    follower: Follower | None = None,
) -> Run:
    """Compress a trained generator that is in memory, measure the result and bundle it, as recipes are.

    The same call goes on where one was broken off, as long as module, inputs and stages are the same.

    Args:
        module: the trained generator; a copy of it is worked on, in eval mode, on the CPU.
        contract_or_examples: what it takes and gives; or a batch of each input, as arrays or tensors in a
            mapping, a tuple, or alone, from which that is found out (see `edgegan.init_recipe`). For an input
            of any size it is a list of batches of several sizes, the first of which the stages work at.
        target: a device to write INT8 for, or several; `edgegan.targets()` lists them. Not with `stages`,
            whose `Quantize` names its own.
        calibration: real inputs, on which ranges are found and quality is measured: arrays (M, *shape),
            float32 or uint8 pictures, in a mapping or alone; or a loader of batches, of which 512 samples are
            taken. Without, pictures among the examples are used.
        out: the run's folder, absent, empty or a run's.
        stages: what to do; by default pruning to half of the MACs where that can be, a short distillation,
            INT8 and export.
        noise: what stands for random numbers that `forward` draws, dropout among them: one draw that is
            kept, or their mean.
        follower: told of each step; by default they are printed.

    Raises:
        InputError: examples or calibration do not fit, or are too few.
        ModelError: the module does not run on them, or lint found that it cannot be compressed.
        StageError: a stage failed; the run can be gone on with.
        StorageError: the folder is in use for something else or may not be written.
    """
    if not isinstance(module, nn.Module) or isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            f"{type(module).__name__} is no network that stages can change",
            next="give the torch.nn.Module that was trained",
        )
    teacher = copy_of(module).cpu().eval().requires_grad_(False)
    described = _described(teacher, contract_or_examples, calibration)
    folder = Path(out)
    with held(folder, "run") as holder:
        contract = described.contract
        if described.rows:
            write_arrays(folder / FILE, described.rows)
            contract = contract.with_stored(folder)
        contract.check_stored()
        said = [*_told(described.notes), *prepare(teacher, contract, described.outputs, drawn=noise)]
        macs = count(teacher, contract).macs
        if stages is None:
            named = [target] if isinstance(target, str) else target
            targets = [seen_from(folder, name) for name in named]
            settings = _fitting_stages(teacher, contract, first_stages(macs, targets), folder)
            recipe = _recipe(module, contract, settings, first_samples(macs), folder)
            stages = build_stages(recipe)
        else:
            settings = {
                stage.name: stage.settings.model_dump(mode="json", exclude_unset=True) for stage in stages
            }
            recipe = _recipe(module, contract, settings, first_samples(macs), folder)
        candidate = Candidate(copy_of(teacher), teacher, contract)
        job = Job(recipe, folder, follower or Printed(), None, len(stages), holder)
        origin = fingerprint.of_candidate(candidate)
        return job.run(stages, ["edgegan.compress_module", type(module).__name__], (candidate, origin, said))


def _described(module: nn.Module, given: Any, calibration: Any) -> Described:
    if not isinstance(given, Contract):
        return describe(module, given, calibration)
    shapes = {spec.name: spec.shape for spec in given.inputs if spec.dtype == "float32"}
    rows = collected(calibration, shapes)
    if calibration is not None and given.stored:
        raise InputError(
            "the contract has stored inputs, and calibration is given too", next="leave one of them out"
        )
    data: dict[str, Any] = given.to_dict()
    stored = [
        {**entry, "sample": {**entry["sample"], "kind": "stored", "file": FILE}}
        if entry["name"] in rows
        else entry
        for entry in data["inputs"]
    ]
    contract = Contract.from_dict({**data, "inputs": stored}) if rows else given
    return Described(contract, {}, rows, [])


def _fitting_stages(module: nn.Module, contract: Contract, settings: Settings, folder: Path) -> Settings:
    """Return the settings without the stages that lint finds an error with."""

    def find(without: Sequence[str]) -> list[Finding]:
        kept = {name: value for name, value in settings.items() if name not in without}
        return lint(module, contract, stages=build_stages(_recipe(module, contract, kept, 2, folder)))

    _, left_out = fitting(find)
    return {name: value for name, value in settings.items() if name not in left_out}


def _recipe(module: nn.Module, contract: Contract, settings: Settings, samples: int, folder: Path) -> Recipe:
    """Return the recipe that a run's records name: its model is in memory, and in no file."""
    name = type(module).__name__
    return Recipe.of(
        {
            "schema": 1,
            "name": name.lower().strip("_") or "module",
            "model": {"callable": f"memory:{name}", "checkpoint": "in memory"},
            "contract": contract.to_dict(),
            "quality": {"samples": samples},
            "stages": [{stage: value} for stage, value in settings.items()],
        },
        folder,
    )


def _told(notes: Sequence[str]) -> list[Finding]:
    return [
        Finding(
            "warning",
            "",
            "the contract was found by trying",
            note,
            "give a Contract, or calibration=, where it is not so",
        )
        for note in notes
    ]
