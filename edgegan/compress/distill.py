"""The stage `distill`: the student learns from the frozen teacher on the same latents, with no data set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgegan.compress.psnr import mean_psnr_of, squared_errors
from edgegan.compress.stage import Candidate, Context, Settings, Stage, StageRecord
from edgegan.compress.structure import not_finite
from edgegan.errors import ProofError, StageError
from edgegan.learning import devices
from edgegan.learning.algorithms.distillation import Distillation
from edgegan.learning.algorithms.settings import DistillationSettings
from edgegan.learning.checkpoint import Checkpoint, fingerprint
from edgegan.learning.draws import Stream, derive, draw
from edgegan.learning.log import Log, Row
from edgegan.learning.loop import Loop, Progress
from edgegan.learning.monitor import Monitor, Trouble
from edgegan.learning.taps import outputs_of
from edgegan.module_copy import copy_of

LOSSES = "losses.csv"
HELD_OUT = 256
"""Latents, never trained on, on which student and teacher are compared before and after."""


class DistillSettings(DistillationSettings, Settings):
    """Settings of `Distill`: those of a distillation."""


class Distill(Stage):
    """Train the student to give the teacher's outputs; see `DistillSettings` for the losses.

    The student's structure, the teacher and the discriminator stay as they are. Under `torchrun` the batch is
    split over the processes, and the result is that of one process but for rounding.
    """

    name: ClassVar[str] = "distill"
    parallel: ClassVar[bool] = True

    def __init__(self, settings: DistillSettings | None = None) -> None:
        self.settings = settings or DistillSettings()

    def requires(self, candidate: Candidate) -> None:
        """Raise `StageError` where a network does not give the contract's outputs, or has NaN weights."""
        inputs = draw(candidate.contract, 2, 0)
        for role, module in (("student", candidate.student), ("teacher", candidate.teacher)):
            _check_finite(role, module, StageError)
            shapes = [tuple(output.shape[1:]) for output in _run(module, inputs)]
            expected = [spec.shape for spec in candidate.contract.outputs]
            if shapes != expected:
                raise StageError(
                    f"the {role} gives outputs of shapes {shapes}, but the contract says {expected}",
                    where="distill",
                    next="correct contract.outputs in the recipe",
                )
        if candidate.discriminator is not None:
            labels = [
                value for spec, value in zip(candidate.contract.inputs, inputs) if spec.dtype == "int64"
            ]
            try:
                _run(copy_of(candidate.discriminator), [_run(candidate.teacher, inputs)[0], *labels])
            except (RuntimeError, TypeError) as error:
                raise StageError(
                    f"the discriminator cannot be called as discriminator(image, *labels): {error}",
                    where="distill",
                    next="correct the recipe's discriminator, or leave it out",
                ) from error

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        """Train, and return the candidate with the averaged student; resume from a checkpoint in the folder.

        Raises:
            StageError: a loss is not finite, or the batch cannot be split evenly over the processes.
            StorageError: the folder cannot be written.
        """
        start = time.perf_counter()
        teacher = fingerprint(candidate.teacher)
        fabric = devices.launch(self.settings.precision)
        if self.settings.batch % fabric.world_size:
            raise StageError(
                f"a batch of {self.settings.batch} cannot be split evenly over {fabric.world_size} processes",
                where="distill",
                next=f"set distill.batch to a multiple of {fabric.world_size}",
            )
        with devices.arithmetic(deterministic=self.settings.deterministic):
            before = self._psnr_db(candidate.student, candidate, context.seed, fabric.device)
            algorithm = Distillation(
                candidate.student,
                candidate.teacher,
                candidate.discriminator,
                candidate.contract,
                self.settings,
                fabric,
                context.seed,
            )
            trained, losses, troubles = run_distillation(algorithm, context.folder, context.progress)
            student = copy_of(candidate.student)
            student.load_state_dict({name: value.cpu() for name, value in trained.state_dict().items()})
            after = self._psnr_db(student, candidate, context.seed, fabric.device)
        learnt = any(spec.sample.file for spec in candidate.contract.inputs)
        record = StageRecord(
            stage=self.name,
            settings=self.settings.model_dump(),
            changed={
                "weights": "all",
                "taps": [tap.name for tap in algorithm.taps],
                "losses_file": LOSSES,
            },
            proof={
                "learnt_psnr_db" if learnt else "held_out_psnr_db": {
                    "before": before,
                    "after": after,
                    "samples": HELD_OUT,
                },
                "warnings": [*map(str, troubles), *_warnings(before, after, learnt=learnt)],
                "final_losses": losses,
                "teacher_weights": teacher,
                "device": str(fabric.device.type),
                "processes": fabric.world_size,
            },
            seconds=time.perf_counter() - start,
        )
        return candidate.with_record(record, student=student.eval())

    def ensures(self, before: Candidate, after: Candidate) -> None:
        """Raise `ProofError` unless the weights are finite and all but the student's weights is as it was."""
        _check_finite("student", after.student, ProofError)
        if after.contract != before.contract:
            raise ProofError("distilling changed the contract", where="distill")
        if fingerprint(after.teacher) != after.lineage[-1].proof["teacher_weights"]:
            raise ProofError("distilling changed the teacher's weights", where="distill")
        if after.discriminator is not before.discriminator:
            raise ProofError("distilling changed the discriminator", where="distill")
        old, new = ({k: v.shape for k, v in c.student.state_dict().items()} for c in (before, after))
        if old != new:
            raise ProofError("distilling changed the student's structure", where="distill")

    def _psnr_db(self, student: nn.Module, candidate: Candidate, seed: int, device: torch.device) -> float:
        """Return the mean PSNR in dB of `student` to the teacher, of the worst output.

        Latents are none that are learnt from; stored inputs are all learnt from.
        """
        pair = [copy_of(module).to(device) for module in (student, candidate.teacher)]
        inputs = draw(candidate.contract, HELD_OUT, derive(seed, Stream.HELD_OUT, 0), device=device)
        parts = []
        for batch in zip(*(tensor.split(min(self.settings.batch, HELD_OUT)) for tensor in inputs)):
            ours, theirs = (_run(module, batch) for module in pair)
            parts.append(squared_errors(ours, theirs, candidate.contract))
        return mean_psnr_of([torch.cat(of_output) for of_output in zip(*parts)])


def run_distillation(
    algorithm: Distillation, folder: Path, progress: Progress
) -> tuple[nn.Module, Row, list[Trouble]]:
    """Make all steps that are left; return the averaged student, its last losses, and what went wrong.

    The folder holds the log `losses.csv` and, until the end, a checkpoint.

    Raises:
        StageError: a loss is not finite.
        StorageError: the folder cannot be written.
    """
    fabric, steps = algorithm.fabric, algorithm.settings.steps
    checkpoint = Checkpoint(folder / "checkpoint", algorithm.key, newer=["monitor"])
    monitor = Monitor(algorithm, folder)
    log = Log(folder / LOSSES, writes=fabric.is_global_zero)
    Loop(
        algorithm, fabric, steps=steps, seed=algorithm.seed, checkpoint=checkpoint, log=log, monitor=monitor
    ).run(progress)
    result = algorithm.finish()
    if fabric.is_global_zero:
        checkpoint.remove()
    fabric.barrier()
    losses = {name: value for name, value in log.rows[-1].items() if name != "step"}
    return result, losses, monitor.troubles


@torch.no_grad()
def _run(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return outputs_of(module.eval()(*inputs))


def _check_finite(role: str, module: nn.Module, error: type[StageError | ProofError]) -> None:
    for name in not_finite(module):
        shape = tuple(module.state_dict()[name].shape)
        raise error(f"the {role}'s weights are not finite", where=f"distill: {name} {shape}")


def _warnings(before: float, after: float, *, learnt: bool) -> list[str]:
    if after >= before:
        return []
    inputs = "the stored inputs" if learnt else "held-out latents"
    return [f"the student moved away from the teacher: {before:.2f} to {after:.2f} dB on {inputs}"]
