"""The stage that writes INT8 models, one for each kind of engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from torch.fx import GraphModule

from edgegan.compress.agreement import agreement
from edgegan.compress.distill import Distill
from edgegan.compress.quantize.budget import Budget, parse
from edgegan.compress.quantize.histogram import Calibrator
from edgegan.compress.quantize.quiet import quiet
from edgegan.compress.quantize.training_settings import TrainingSettings
from edgegan.compress.rewrite import (
    batch_norm_to_affine,
    conv_transpose_to_linear,
    conv_transpose_to_shuffle,
    delay_upsample,
    fold_batch_norm,
    fold_norm_after_activation,
    fold_norm_forward,
    rewrite,
    tabulate_conditional_norm,
)
from edgegan.compress.stage import Candidate, Context, Settings, Stage, StageRecord
from edgegan.errors import ProofError, StageError
from edgegan.target import Int8, Target

if TYPE_CHECKING:
    from edgegan.compress.quantize.reconstruct import Reconstruction
    from edgegan.compress.quantize.training import Training
    from edgegan.compress.quantize.trials import Improvement, Layers

REWRITES = (
    delay_upsample,
    fold_batch_norm,
    tabulate_conditional_norm,
    fold_norm_forward,
    fold_norm_after_activation,
    batch_norm_to_affine,
    conv_transpose_to_linear,
    conv_transpose_to_shuffle,
)
"""Up-sampling stays as it is: merged into the Conv behind it, it saves MACs but not time, since the shuffle
that takes its place handles four times the bytes."""
AUTOMATIC: tuple[Calibrator, ...] = ("weighted_mse", "mse", "mae", "entropy")
ONE_STEP_SHARE, UNSTEADY_SHARE = 0.999, 0.5
"""A file has to give that share of its graph's outputs within one step; the lower one where the graph, whose
float sums flip roundings, does not give the upper one of its own."""
PSNR_FLOOR_DB = 15.0
"""Under this an INT8 model is broken, not coarse: published generators reach 22 dB and more."""


class QuantizeSettings(Settings):
    """How to quantize."""

    targets: tuple[str, ...] = Field(default=("x64-cpu",), min_length=1)
    """What to write INT8 files for: names of targets, or YAML files of your own."""
    calibrator: Literal["auto"] | Calibrator = "auto"
    """How an activation's range is found; see `Histogram.levels`. "auto" tries `weighted_mse`, `mse`, `mae`
    and `entropy`."""
    equalize: bool | Literal["auto"] = "auto"
    """Whether the channels of each tensor are brought to one range first; "auto" tries both."""
    adaptive_rounding: bool = True
    """Whether to try weights rounded for the least error of each layer's outputs; see `round_weights`."""
    bias_correction: bool = True
    """Whether to try biases that take up each layer's mean error; see `float_means`."""
    samples: int = Field(default=256, ge=1)
    """How many of the contract's samples to calibrate with."""
    skip: tuple[str, ...] = ()
    """Names of layers to leave in float. A cheap last layer always is: its output is what one sees."""
    sensitivity: bool = False
    """Whether to measure what each layer alone in INT8 does to the outputs: one quantization a layer more."""
    quality: Annotated[dict[str, float], BeforeValidator(parse)] = Field(default_factory=dict)
    """What INT8 must reach, as `{fid_10k_increase: 3%}` or `{psnr_db: 40}`: as many layers as that takes stay
    in float, by their sensitivity."""
    distill: TrainingSettings | None = None
    """Train each target's graph under its levels before it is written; without, it is only calibrated."""


class Quantize(Stage):
    """Writes the student as Q/DQ ONNX files with static INT8 weights and activations, for each target.

    The student itself stays in float. Weights are int8, per output channel and symmetric; activations are
    per tensor, and where they are rounded depends on the engine (`Target.int8`). Ranges are found on the
    contract's samples; the calibrator, and whether channels are equalized first, are those that bring the
    first target's outputs nearest to the student's on other samples.
    """

    name: ClassVar[str] = "quantize"

    def __init__(self, settings: QuantizeSettings | None = None) -> None:
        self.settings = settings or QuantizeSettings()

    def requires(self, candidate: Candidate) -> None:
        """Raise `StageError` where the student's weights are not all finite, or there is no way to distil."""
        for name, tensor in candidate.student.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise StageError(
                    "the weights are not finite, so they cannot be quantized",
                    where=f"quantize: {name}",
                    next="go back to the last checkpoint whose weights are finite",
                )
        if self.settings.distill is not None:
            Distill(self.settings.distill).requires(candidate)

    def run(self, candidate: Candidate, context: Context) -> Candidate:
        """Write `model.int8.onnx` and its like into the stage's folder: one file for each kind of engine.

        Raises:
            ModelError: the student cannot be traced or exported.
            RecipeError: a target is unknown.
            StageError: a target has no INT8, the student no layer to quantize, `skip` names one that it does
                not have, or no mix of INT8 and float meets the `quality`.
        """
        started, settings = time.monotonic(), self.settings
        targets = _by_file(settings.targets)
        graph, changes = rewrite(candidate.student, candidate.contract, REWRITES)
        work = _Work(candidate, context, settings, graph, len(targets))
        files, changed, proof = dict(candidate.files), {}, {}
        for key, target in targets.items():
            files[key] = context.folder / f"model.{key}.onnx"
            changed[key], proof[key] = work.write(target, files[key])
        record = StageRecord(
            stage=self.name,
            settings=settings.model_dump(mode="json"),
            changed={
                **changed,
                "kept_in_float": list(work.layers.skip),
                "rewrites": [asdict(change) for change in (*changes, *work.start.changes)],
            },
            proof=proof,
            seconds=round(time.monotonic() - started, 2),
        )
        return candidate.with_record(record, files=files)

    def ensures(self, before: Candidate, after: Candidate) -> None:
        """Raise `ProofError` where no layer runs in INT8, or the outputs are not the student's."""
        for key, proof in after.lineage[-1].proof.items():
            where = f"quantize: model.{key}.onnx"
            if not proof["finite"] or proof["psnr_db"] < PSNR_FLOOR_DB:
                raise ProofError(
                    f"the outputs are {proof['psnr_db']} dB from the float ones (at least {PSNR_FLOOR_DB})",
                    where=where,
                    next="leave the worst layers in float with the setting `skip`",
                )
            steady = proof["graph_within_one_step"] >= ONE_STEP_SHARE
            least = ONE_STEP_SHARE if steady else UNSTEADY_SHARE
            if key != "int8-tensorrt" and proof["within_one_step"] < least:
                raise ProofError(
                    f"{proof['within_one_step']:.2%} of the outputs are within one step of its graph's "
                    f"(at least {least:.2%})",
                    where=where,
                    next="report the model's layers; leave the last ones in float with the setting `skip`",
                )
            if not proof["int8_layers"]:
                raise ProofError("no layer of the file runs in an INT8 kernel", where=where)


class _Work:
    """Decides on the first target how to quantize, and writes the files of all."""

    def __init__(
        self,
        candidate: Candidate,
        context: Context,
        settings: QuantizeSettings,
        graph: GraphModule,
        count: int,
    ) -> None:
        from edgegan.compress.quantize import trials
        from edgegan.compress.quantize.judge import require_fid

        self.candidate, self.context, self.settings = candidate, context, settings
        self.layers = trials.choose_layers(graph, settings.skip)
        self.samples = trials.Samples.of(graph, candidate.contract, settings.samples, context.seed)
        with quiet():
            self.starts = trials.starts(graph, self.samples, settings.equalize)
        chosen = settings.calibrator
        self.calibrators: tuple[Calibrator, ...] = AUTOMATIC if chosen == "auto" else (chosen,)
        self.start, self.trials = self.starts[0], []
        self.budget = Budget.of(settings.quality)
        require_fid(self.budget, context.fid, candidate.contract.distinct())
        sweeps = (settings.sensitivity or bool(settings.quality)) + bool(settings.quality)
        each = 1 + sweeps * (len(self.layers.macs) - len(self.layers.skip))
        each += settings.distill.steps if settings.distill else 0
        self.ways: dict[tuple[str, ...], Reconstruction] = {}
        tried = len(self.starts) * len(self.calibrators)
        tried += 2 ** (settings.adaptive_rounding + settings.bias_correction) - 1
        self.done, self.count = 0, tried + count * each

    def write(self, target: Target, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Write one target's file; return what was decided, and the file's proof."""
        from edgegan.compress.quantize import trials
        from edgegan.compress.quantize.exact import one_step
        from edgegan.compress.quantize.judge import PROOF
        from edgegan.compress.quantize.kernels import annotated, kernels

        assert target.int8 is not None
        with quiet():
            if not self.trials:
                self._try(target.int8)
            winner = self.trials[0]
            better = [way for names, way in self.ways.items() if names == winner.improvements]
            layers, assigned, measured = self._assign(target, winner.calibrator, better)
            training = self._training(path)
            common = winner.calibrator, self.samples.batches, [*better, *training]
            quantized = trials.lower(self.start, layers, target.int8, *common)
            self._write(target, quantized, path)
        changed = {"target": target.name, "file": path.name, "calibrator": winner.calibrator, **assigned}
        ours = target.engine == "onnxruntime"
        student, contract = self.candidate.student, self.candidate.contract
        proof = {
            **agreement(path, student, contract, batches=PROOF, optimized=ours),
            **one_step(path, quantized, contract, optimized=ours),
            **(kernels if ours else annotated)(path),
            "trials": [trial.to_dict() for trial in self.trials],
            **measured,
            **({"training": training[0].losses} if training else {}),
            "file_bytes": path.stat().st_size,
        }
        self._progress()
        return {**changed, "equalized": winner.equalized, "improvements": list(winner.improvements)}, proof

    def _try(self, int8: Int8) -> None:
        """Find the best start and calibrator, and then whether a reconstruction makes it better."""
        from edgegan.compress.quantize import trials
        from edgegan.compress.quantize.reconstruct import reconstructions

        self.start, self.trials = trials.best(
            self.starts, self.layers, int8, self.calibrators, self.samples, self._progress
        )
        self.ways = reconstructions(
            self.start.graph,
            self.samples.batches,
            rounding=self.settings.adaptive_rounding,
            bias=self.settings.bias_correction,
        )
        best = self.trials[0]
        common = self.start, self.layers, int8, best, self.ways, self.samples, self._progress
        self.trials = sorted([*self.trials, *trials.improve(*common)], key=lambda trial: -trial.psnr_db)

    def _training(self, path: Path) -> list[Training]:
        """Return the training of the graph that becomes the file at `path`; none where none is asked for."""
        from edgegan.compress.quantize.training import Training

        if self.settings.distill is None:
            return []
        before = self.done

        def progress(done: int, _: int) -> None:
            self.done = before + done - 1
            self._progress()

        context = replace(self.context, progress=progress)
        return [Training(self.candidate, self.settings.distill, context, path.stem)]

    def _assign(
        self, target: Target, calibrator: Calibrator, improvements: Sequence[Improvement]
    ) -> tuple[Layers, dict[str, Any], dict[str, Any]]:
        """Return which layers to quantize for a target; what that changed, and what was measured for it."""
        from edgegan.compress.quantize.judge import FID_SAMPLES, Judge
        from edgegan.compress.quantize.mixed import assign
        from edgegan.compress.quantize.sensitivity import ranking, sweep, to_dicts

        settings, int8 = self.settings, target.int8
        assert int8 is not None
        if not (settings.sensitivity or settings.quality):
            return self.layers, {}, {}
        samples = self.budget.fid_samples or FID_SAMPLES
        write = partial(self._write, target)
        judge = Judge(self.candidate, self.samples, target, write, self.context.fid, samples)
        common = self.start, self.layers, int8, calibrator
        table = sweep(*common, judge, self._progress)
        measured: dict[str, Any] = {"sensitivity": to_dicts(table, judge.fid_samples)}
        if not settings.quality:
            return self.layers, {}, measured
        found = assign(*common, ranking(table), self.budget, judge, self._progress, improvements)
        measured["quality_trials"] = found.trials
        return found.layers, {"precisions": found.precisions}, measured

    def _write(self, target: Target, quantized: GraphModule, path: Path) -> None:
        from edgegan.compress import onnx_graph
        from edgegan.compress.export import to_onnx
        from edgegan.compress.quantize.deploy import deploy

        model = to_onnx(quantized, self.candidate.contract)
        onnx_graph.save(deploy(model, list(self.layers.macs), target), path)

    def _progress(self) -> None:
        self.done += 1
        self.context.progress(self.done, self.count)


def _by_file(names: Sequence[str]) -> dict[str, Target]:
    """Return the targets by the precision key of the file that is written for them."""
    targets: dict[str, Target] = {}
    for name in names:
        target = Target.read(name)
        if target.int8 is None:
            raise StageError(
                f"the target {target.name} has no INT8",
                where="quantize: targets",
                next="leave it out, or give it an `int8`",
            )
        targets.setdefault(target.int8_key, target)
        if targets[target.int8_key].int8 != target.int8:
            other = targets[target.int8_key].name
            raise StageError(
                f"the targets {other} and {target.name} want different INT8 files of one name",
                where="quantize: targets",
                next="keep one of the two",
            )
    return targets
