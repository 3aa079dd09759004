"""Stages in order, each kept in a folder of its own, so that a run goes on where it was broken off."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from edgegan.compress import fingerprint, structure
from edgegan.compress.stage import Candidate, Context, Progress, Stage
from edgegan.compress.step import KEY, Step, plan
from edgegan.errors import EdgeganError, StageError
from edgegan.files import refusal, remove, sha256, write_json
from edgegan.module_copy import copy_of
from edgegan.owned import held
from edgegan.processes import is_first_process
from edgegan.run.folder import RECORD
from edgegan.run.records import KeptRecord
from edgegan.run.typed import to_plain

POLL_SECONDS = 0.2

Follow = Callable[[str, bool], Progress]
"""Called with (stage, whether it is restored) as each stage begins; returns the stage's progress."""


class Pipeline(Stage):
    """Runs stages in order; itself a stage.

    Each stage has a folder in the context's folder, which is absent, empty or a pipeline's own. A stage whose
    folder holds its finished result is not run again. A result counts only for the same stage, settings,
    seed and earlier stages: see `Key`.

    Under `torchrun` every process runs the stages that are `parallel`; the first alone runs the others and
    writes, and the rest read its results, from a folder that all of them see.

    Args:
        stages: in order.
        origin: stands for what the first candidate is made of; by default computed from its modules, its
            contract, and its files.
        follow: told of each stage as it begins.
    """

    name: ClassVar[str] = "pipeline"
    parallel: ClassVar[bool] = True

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        origin: str | None = None,
        follow: Follow = lambda stage, restored: lambda done, total: None,
    ) -> None:
        self.stages, self.origin, self.follow = tuple(stages), origin, follow

    def steps(self, folder: Path, seed: int, candidate: Candidate) -> list[Step]:
        """Return the stages with their folders and keys, for `candidate` as the first."""
        origin = fingerprint.of_candidate(candidate) if self.origin is None else self.origin
        return plan(self.stages, folder, seed, origin)

    def requires(self, candidate: Candidate) -> None:
        """Raise `StageError` where the first stage cannot use the candidate."""
        for stage in self.stages[:1]:
            stage.requires(candidate)

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        """Run, or restore, every stage.

        Raises:
            StageError: a stage failed; its name, and the layer where that is known, is in `where`.
            StorageError: the disk is full, or the folder is in use for something else or may not be written.
        """
        after = candidate
        for after, _ in self.walk(candidate, context):  # noqa: B007
            pass
        return after

    def walk(self, candidate: Candidate, context: Context) -> Iterator[tuple[Candidate, Step]]:
        """Yield the candidate after each stage, and the stage's step."""
        steps = self.steps(context.folder, context.seed, candidate)
        with held(context.folder, "stages") if is_first_process() else nullcontext():
            if is_first_process():
                _clear_strangers(context.folder, steps)
            for step in steps:
                finished = step.finished
                progress = self.follow(step.stage.name, finished)
                if not finished:
                    with _named(step.stage.name, candidate):
                        self._work(candidate, step, replace(context, folder=step.folder, progress=progress))
                candidate = _restore(candidate, step)
                yield candidate, step

    def ensures(self, before: Candidate, after: Candidate) -> None:
        """Hold nothing beyond what each stage has ensured as it ran."""

    def _work(self, candidate: Candidate, step: Step, context: Context) -> None:
        stage = step.stage
        if is_first_process() and not step.started:
            remove(step.folder)
            write_json(step.folder / KEY, to_plain(step.content))
        if is_first_process() or stage.parallel:
            _seed(context.seed)
            stage.requires(candidate)
            after = stage.run(candidate, context)
            stage.ensures(candidate, after)
            if is_first_process():
                _keep(after, step)
        while not (is_first_process() or step.finished):
            time.sleep(POLL_SECONDS)


def _keep(candidate: Candidate, step: Step) -> None:
    structure.save(candidate.student, step.folder)
    artifacts = [replace(of, file=_relative(Path(of.file), step)) for of in candidate.artifacts]
    kept = [step.folder / structure.STRUCTURE, step.folder / structure.WEIGHTS, *candidate.files.values()]
    checksums = {_relative(path, step): sha256(path) for path in kept}
    record = KeptRecord(**vars(candidate.lineage[-1]), artifacts=tuple(artifacts), sha256=checksums)
    write_json(step.folder / RECORD, asdict(record))


def _relative(path: Path, step: Step) -> str:
    return Path(os.path.relpath(path, step.folder)).as_posix()


def _restore(before: Candidate, step: Step) -> Candidate:
    """Read a finished stage's result: right after it ran too, so that a resumed run gets the very same."""
    record = step.record
    if record is None:
        raise StageError(
            "the stage's result was changed just now", where=str(step.folder), next=structure.AGAIN
        )
    placed = ((of, (step.folder / of.file).resolve()) for of in record.exported)
    artifacts = tuple(replace(of, file=str(path)) for of, path in placed)
    student = structure.load(copy_of(before.teacher), step.folder).requires_grad_(False)
    return before.with_record(record.record, student=student, artifacts=artifacts)


def _clear_strangers(folder: Path, steps: Sequence[Step]) -> None:
    """Delete what earlier runs of other stages left."""
    known = {step.folder.name for step in steps}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and path.name not in known:
            remove(path)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def _named(stage: str, candidate: Candidate) -> Iterator[None]:
    """Put the stage's name, and the layer's where it is known, on whatever goes wrong inside."""
    try:
        yield
    except EdgeganError as error:
        raise error.placed(f"stage {stage}") from error.__cause__
    except Exception as error:
        refused = refusal(error)
        if refused:
            raise refused.placed(f"stage {stage}") from error
        layer = _layer(error, candidate)
        message = str(error).strip().splitlines() or ["no message"]
        raise StageError(
            f"{type(error).__name__}: {message[0]}",
            where=f"stage {stage}" + (f", layer {layer}" if layer else ""),
            next="correct the model or the stage's settings; finished stages are kept, and not run again",
        ) from error


def _layer(error: BaseException, candidate: Candidate) -> str | None:
    """The innermost layer of the student or the teacher whose code the error came through."""
    found, trace = None, error.__traceback__
    names = {
        id(module): name
        for network in (candidate.teacher, candidate.student)
        for name, module in network.named_modules()
    }
    while trace is not None:
        module = trace.tb_frame.f_locals.get("self")
        if isinstance(module, nn.Module) and names.get(id(module)):
            found = names[id(module)]
        trace = trace.tb_next
    return found
