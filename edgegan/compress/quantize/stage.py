"""The stage that writes INT8 models, one for each kind of engine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from edgegan.compress.distill import Distill
from edgegan.compress.lint.finding import together
from edgegan.compress.psnr import BEHIND_DB, BROKEN_DB
from edgegan.compress.quantize.settings import QuantizeSettings
from edgegan.compress.rewrite import (
    batch_norm_to_affine,
    conv_to_pixel_blocks,
    conv_transpose_to_linear,
    conv_transpose_to_shuffle,
    delay_upsample,
    fold_batch_norm,
    fold_norm_after_activation,
    fold_norm_forward,
    fold_weights,
    rewrite,
    spell_batch_statistics,
    tabulate_conditional_norm,
)
from edgegan.compress.stage import Candidate, Context, Stage, StageRecord, check_finite
from edgegan.errors import ProofError, StageError
from edgegan.runtime.artifact import USUAL_ENGINE
from edgegan.target import Target

REWRITES = (
    fold_weights,
    spell_batch_statistics,
    delay_upsample,
    fold_batch_norm,
    tabulate_conditional_norm,
    fold_norm_forward,
    fold_norm_after_activation,
    batch_norm_to_affine,
    conv_transpose_to_linear,
    conv_transpose_to_shuffle,
    conv_to_pixel_blocks,
)
"""Up-sampling stays as it is: merged into the Conv behind it, it saves MACs but not time, since the shuffle
that takes its place handles four times the bytes."""
ONE_STEP_SHARE = 0.999
"""A file has to give that share of its graph's outputs within one step, where both round the same numbers.
Behind a norm they do not: its sums differ in their last bits, by more the more they sum up."""


class Quantize(Stage):
    """Writes the student as Q/DQ ONNX files with static INT8 weights and activations, for each target.

    The student itself stays in float. Weights are int8, per output channel and symmetric; activations are
    per tensor, and where they are rounded depends on the engine (`Target.int8`). Ranges are found on the
    contract's samples; the calibrator, and whether channels are equalized first, are those that bring the
    first target's outputs nearest to the student's on other samples.
    """

    name: ClassVar[str] = "quantize"
    revision: ClassVar[int] = 8

    def __init__(self, settings: QuantizeSettings | None = None) -> None:
        self.settings = settings or QuantizeSettings()

    def requires(self, candidate: Candidate) -> None:
        """Raise `StageError` where the student's weights are not all finite, or there is no way to distil."""
        check_finite(candidate.student, self.name)
        if self.settings.distill is not None:
            Distill(self.settings.distill).requires(candidate)

    def rests_on(self) -> dict[str, Any]:
        """Return the INT8 scheme of each target: a file of the user's may say another one tomorrow."""
        schemes = {name: target.int8 for name, target in self.settings.read_targets().items()}
        return {name: scheme and scheme.model_dump(mode="json") for name, scheme in schemes.items()}

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        """Write `model.int8.onnx` and its like into the stage's folder: one file for each kind of engine.

        Raises:
            ModelError: the student cannot be traced or exported.
            RecipeError: a target is unknown.
            StageError: a target has no INT8, the student no layer to quantize, `skip` names one that it does
                not have, or no mix of INT8 and float meets the `quality`.
        """
        from edgegan.compress.quantize import plan, target_file
        from edgegan.compress.quantize.prepare.quiet import quiet
        from edgegan.compress.quantize.steps import Steps

        started, settings = time.monotonic(), self.settings
        targets = by_file(settings.read_targets().values())
        graph, changes = rewrite(candidate.student, candidate.contract, REWRITES)
        task = plan.Task.of(candidate, context, settings, graph)
        with quiet():
            ways = plan.Ways.of(task, graph)
            context.say(plan.announcement(task, ways, graph, len(targets)))
            steps = Steps(context.progress, ways.count + len(targets) * task.most_steps)
            chosen = plan.Plan.of(task, ways, next(iter(targets.values())), steps)
        written, changed, proof = [], {}, {}
        for key, target in targets.items():
            path = context.folder / f"model.{key}.onnx"
            changed[key], proof[key] = target_file.write(chosen, target, path, steps)
            written.append(target.int8_artifact(path))
        record = StageRecord(
            stage=self.name,
            settings=settings.model_dump(mode="json"),
            changed={
                **changed,
                "kept_in_float": list(task.layers.skip),
                **task.effort.bounded(settings.samples),
                **({"equalization_refused": chosen.start.refused} if chosen.start.refused else {}),
                "rewrites": [asdict(change) for change in (*changes, *chosen.start.changes)],
            },
            proof=proof,
            seconds=round(time.monotonic() - started, 2),
        )
        return candidate.with_artifacts(*written).with_record(record)

    def ensures(self, before: Candidate, after: Candidate) -> None:
        """Raise `ProofError` where a file is not what its graph is, `StageError` where INT8 is of no use.

        A coarse file is no error: its decibels are in the record, and `quality` asks for more.
        """
        ours = {artifact.name: artifact.optimized_by(USUAL_ENGINE) for artifact in after.artifacts}
        for key, proof in after.lineage[-1].proof.items():
            where = f"quantize: model.{key}.onnx"
            layers = proof["int8_layers"]
            if not layers:
                raise StageError(
                    "no layer of the file runs in an INT8 kernel of this engine",
                    where=f"{where}: {together(proof['float_layers'])}",
                    next="leave the stage `quantize` out of the recipe: its FP32 and FP16 files are as fast",
                )
            if not proof["finite"]:
                raise ProofError(
                    "the outputs are not finite, or of another shape", where=where, next=_report(layers)
                )
            comparable = ours[key] and not proof["saturates"] and proof["settled"]
            if comparable and proof["within_one_step"] < ONE_STEP_SHARE:
                raise ProofError(
                    f"{proof['within_one_step']:.2%} of the outputs are within one step of its graph's "
                    f"(at least {ONE_STEP_SHARE:.2%})",
                    where=where,
                    next=_report(layers),
                )
            if not proof["saturates"] and proof["behind_db"] > BEHIND_DB:
                raise ProofError(
                    f"the outputs are {proof['behind_db']} dB farther from the student's than its graph's "
                    f"(at most {BEHIND_DB})",
                    where=where,
                    next=_report(layers),
                )
            if proof["psnr_db"] < (least := BROKEN_DB["int8"]):
                raise StageError(
                    f"the outputs are {proof['psnr_db']} dB from the float ones (at least {least:g})",
                    where=f"{where}: {together(layers)}",
                    next="find what has to stay in float: `quality: {psnr_db: 30}` under `quantize`",
                )


def _report(layers: Sequence[str]) -> str:
    """Return what to do about a file that is not its graph; `layers` are those in INT8, as they run."""
    return f"report the model's layers; meanwhile, under `quantize`: `skip: [{', '.join(layers[-3:])}]`"


def by_file(targets: Iterable[Target]) -> dict[str, Target]:
    """Return the targets by the precision key of the file that is written for them."""
    files: dict[str, Target] = {}
    for target in targets:
        if target.int8 is None:
            raise StageError(
                f"the target {target.name} has no INT8",
                where="quantize: targets",
                next="leave it out, or give it an `int8`",
            )
        files.setdefault(target.int8_key, target)
        if files[target.int8_key].int8 != target.int8:
            other = files[target.int8_key].name
            raise StageError(
                f"the targets {other} and {target.name} want different INT8 files of one name",
                where="quantize: targets",
                next="keep one of the two",
            )
    return files
