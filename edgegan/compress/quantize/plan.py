"""The decisions of the stage `quantize`, and the files that come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from torch.fx import GraphModule

from edgegan.compress import onnx_graph
from edgegan.compress.agreement import figures
from edgegan.compress.export import to_onnx
from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.choose import candidates
from edgegan.compress.quantize.choose.budget import DEFAULT_DB, PSNR_DB
from edgegan.compress.quantize.choose.candidates import Improvement, Trial
from edgegan.compress.quantize.choose.effort import Effort
from edgegan.compress.quantize.choose.file_evaluator import FileEvaluator, measurable
from edgegan.compress.quantize.choose.file_proof import FileProof, judged
from edgegan.compress.quantize.choose.float_layers import ROUNDS, SHARES, Switched, fewer, ladder
from edgegan.compress.quantize.choose.layer_times import LayerTimes, estimated, layer_times, runs_here
from edgegan.compress.quantize.choose.mixed_precision import Assignment, assign, unmet
from edgegan.compress.quantize.choose.quantized_layers import Layers, choose_layers
from edgegan.compress.quantize.choose.sensitivity import sweep, to_dicts
from edgegan.compress.quantize.deploy.int8_coverage import annotated, kernels, saturates
from edgegan.compress.quantize.deploy.integer_reference import one_step
from edgegan.compress.quantize.deploy.node_names import name_layers
from edgegan.compress.quantize.deploy.onnx_passes import deploy
from edgegan.compress.quantize.improve.bias_correction import Reconstruction, reconstructions
from edgegan.compress.quantize.improve.qat import Training
from edgegan.compress.quantize.prepare import memory
from edgegan.compress.quantize.prepare.layers import elements, layer_names
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.quantize.settings import QuantizeSettings
from edgegan.compress.rewrite.graph import argument
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.artifact import USUAL_ENGINE
from edgegan.target import Int8, Target

AUTOMATIC: tuple[Calibrator, ...] = ("weighted_mse", "mse", "percentile", "mae")

IMPORTED_GIB = 0.6
"""What torch and the rest take by themselves."""
LONG = 120
"""Seconds from which on it is said how to save some."""


class Work:
    """Decides on the first target how to quantize, and writes the files of all."""

    def __init__(
        self,
        candidate: Candidate,
        context: Context,
        settings: QuantizeSettings,
        graph: GraphModule,
        count: int,
    ) -> None:
        self.candidate, self.context, self.settings = candidate, context, settings
        modules = [name for name, _ in candidate.student.named_modules() if name]
        self.layers = choose_layers(graph, settings.skip, modules)
        self.effort = effort = Effort.of(graph, settings.samples)
        counts = effort.calibration, context.seed, effort.judging, effort.proving
        self.samples = candidates.Samples.of(graph, candidate.contract, *counts)
        self.prove = FileProof(candidate.student, candidate.contract, self.samples.proving)
        with quiet():
            equalize = settings.equalize is True if settings.fast else settings.equalize
            self.starts = candidates.starts(graph, self.samples, equalize)
        chosen, automatic = settings.calibrator, AUTOMATIC[:1] if settings.fast else AUTOMATIC
        self.calibrators: tuple[Calibrator, ...] = automatic if chosen == "auto" else (chosen,)
        self.gptq, self.bias_correction = (
            wanted and not settings.fast for wanted in (settings.gptq, settings.bias_correction)
        )
        self.start, self.trials, self.judged = self.starts[0], [], self.samples
        default = settings.quality is None and not settings.fast and settings.distill is None
        quality = {PSNR_DB: DEFAULT_DB} if default else settings.quality or {}
        self.budget = measurable(quality, None if default else context.quality, candidate.contract.distinct())
        self.in_db = set(self.budget.to_dict()) == {PSNR_DB}
        widened = settings.headroom and not settings.fast and self.in_db
        self.headroom = candidates.HEADROOM if widened else ()
        left = len(self.layers.macs) - len(self.layers.skip)
        self.swept = ROUNDS * (left + 1) + 2 + left * settings.sensitivity
        self.swept += self.in_db * (2 * left + len(SHARES))
        asked = settings.sensitivity or bool(self.budget.limits)
        self.swept *= asked
        each = 1 + self.swept + (settings.distill.steps if settings.distill else 0)
        self.ways: dict[tuple[str, ...], Reconstruction] = {}
        self.written: tuple[GraphModule, str, onnx.ModelProto] | None = None
        tried = len(self.starts) * len(self.calibrators) + len(self.headroom)
        tried += 2 ** (self.gptq + self.bias_correction) - 1
        self.done, self.count = 0, tried + count * each
        self._tell(graph, tried, count)

    def _tell(self, graph: GraphModule, trials: int, targets: int) -> None:
        """Say what is to come."""
        seconds = self.effort.seconds(
            self.samples.seconds,
            starts=len(self.starts),
            trials=trials,
            files=targets * (2 if self.budget.limits else 1),
            layers=len(self.layers.macs),
        )
        gib = IMPORTED_GIB + memory.most_bytes(graph) / 2**30
        faster = "; `fast: true` under `quantize` calibrates alone" if seconds > LONG else ""
        self.context.say(f"about {seconds:.0f} s and {gib:.1f} GiB{faster}")

    def write(self, target: Target, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Write one target's file; return what was decided, and the file's proof."""
        assert target.int8 is not None
        with quiet():
            if not self.trials:
                self._try(target.int8)
            winner = self.trials[0]
            better = [way for names, way in self.ways.items() if names == winner.improvements]
            layers, assigned, measured, quantized = self._assign(target, winner.calibrator, better)
            training = self._training(path)
            if training or quantized is None:
                common = winner.calibrator, self.samples.batches, [*better, *training]
                quantized = candidates.lower(self.start, layers, target.int8, *common)
            self._write(target, quantized, path)
        changed = {"target": target.name, "file": path.name, "calibrator": winner.calibrator, **assigned}
        artifact = target.int8_artifact(path)
        ours = artifact.optimized_by(USUAL_ENGINE)
        student, contract, effort = self.candidate.student, self.candidate.contract, self.effort
        proof = {
            **figures(found := self.prove(artifact)),
            **judged(found, self.budget),
            **one_step(artifact, quantized, student, contract, samples=effort.exact, most=effort.exact_most),
            "saturates": ours and target.int8.weight_bits == 8 and saturates(),
            **(kernels if ours else annotated)(path, {spec.name: spec.shape for spec in contract.inputs}),
            "trials": [trial.to_dict() for trial in self.trials],
            **measured,
            **({"training": training[0].losses} if training else {}),
            "file_bytes": path.stat().st_size,
        }
        self._progress()
        return {**changed, **winner.decided()}, proof

    def _try(self, int8: Int8) -> None:
        """Find the best start and calibrator, and then whether a reconstruction makes it better."""
        common, others = (self.layers, int8), (self._rank, self._progress)
        self.start, tried = candidates.best(self.starts, *common, self.calibrators, self.samples, *others)
        calibrated, left = tried[:1], tried[1:]
        if self.headroom:
            self.judged = self.samples.others(self.start.graph, self.effort.proving, self.context.seed)
            wider = [replace(self.start, headroom=headroom) for headroom in self.headroom]
            calibrators = (calibrated[0].calibrator,)
            self.start, calibrated = candidates.best(wider, *common, calibrators, self.judged, *others)
        self.ways = reconstructions(
            self.start.graph,
            self.samples.batches,
            rounding=self.gptq,
            bias=self.bias_correction,
        )
        given = calibrated[0], self.ways, self.judged, self._progress
        found = [*calibrated, *candidates.improve(self.start, *common, *given)]
        self.trials = [*sorted(found, key=self._rank, reverse=True), *left]

    def _rank(self, trial: Trial) -> float:
        """Return how good a trial is: by what a budget in dB asks for, else by the mean over samples."""
        return trial.sure_psnr_db if self.in_db else trial.mean_psnr_db

    def _training(self, path: Path) -> list[Training]:
        """Return the training of the graph that becomes the file at `path`; none where none is asked for."""
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
    ) -> tuple[Layers, dict[str, Any], dict[str, Any], GraphModule | None]:
        """Return which layers to quantize for a target; what that changed, and was measured; and the graph.

        The graph is None where none was made.
        """
        settings, int8, budget = self.settings, target.int8, self.budget
        assert int8 is not None
        with FileEvaluator(
            self.candidate,
            self.judged,
            target,
            partial(self._write, target),
            self.prove,
            self.context.quality,
            budget,
        ) as judge:
            common = self.start, self.layers, int8, calibrator
            measured: dict[str, Any] = {}
            after = self.done + self.swept
            if settings.sensitivity:
                swept = sweep(*common, judge, self._progress)
                measured["sensitivity"] = to_dicts(swept, judge.fid.name if judge.fid else None)
            if not budget.limits:
                self.count -= after - self.done
                return self.layers, {}, measured, None
            found = assign(*common, [()], budget, judge, self._progress, improvements)
            if not found.met:
                found = self._mixed(target, found, judge, calibrator, improvements, measured)
                if settings.quality and not found.met:
                    raise unmet(budget, found)
        measured["quality_trials"] = found.trials
        self.count -= after - self.done
        decided = {"precisions": found.precisions, "budget": {**budget.to_dict(), "met": found.met}}
        return found.layers, decided, measured, found.graph

    def _mixed(
        self,
        target: Target,
        found: Assignment,
        judge: FileEvaluator,
        calibrator: Calibrator,
        improvements: Sequence[Improvement],
        measured: dict[str, Any],
    ) -> Assignment:
        """Return the best of what was `found` with all in INT8, and of mixes with layers in float."""
        int8, budget = target.int8, self.budget
        assert int8 is not None
        times = self._times(target, found.graph, judge)
        measured["layer_times" if times.measured else "layer_times_estimated"] = times.to_dicts()
        few = self.samples.few(self.effort.sweeping(len(self.layers.macs)))
        improve = candidates.calibration(self.start, int8, calibrator, self.samples.batches, improvements)
        look = Switched(self.start.graph, self.layers, int8, improve), few
        common = self.start, self.layers, int8, calibrator

        def tried(rungs: list[list[str]], before: Sequence[str] = ()) -> Assignment:
            return assign(*common, rungs, budget, judge, self._progress, improvements, before)

        reached, asked = found.trials[0][PSNR_DB], self.settings.quality is not None
        rungs = ladder(*look, budget, times, reached=reached, asked=asked, progress=self._progress)
        if not rungs:
            return found
        higher = tried(rungs)
        best = max(found, higher, key=lambda of: max(trial["score"] for trial in of.trials))
        found = replace(best, trials=[*found.trials, *higher.trials])
        if not (found.met and self.in_db):
            return found
        chosen = [layer for layer in self.layers.macs if layer in {*found.layers.skip} - {*self.layers.skip}]
        limit_db = budget.to_dict()[PSNR_DB]
        parts = fewer(*look, chosen, times, limit_db=limit_db, progress=self._progress)
        if not parts:
            return found
        lower = tried(parts, chosen)
        return replace(lower if lower.met else found, trials=[*found.trials, *lower.trials])

    def _times(self, target: Target, quantized: GraphModule, judge: FileEvaluator) -> LayerTimes:
        """Return what each layer takes in INT8, and in float."""
        contract, graph = self.candidate.contract, self.start.graph
        names = layer_names(graph)
        values: dict[str, int] = {}
        for node, name in names.items():
            values[name] = values.get(name, 0) + elements(node) + elements(argument(node, 0, "input"))
        if not runs_here(target):
            return estimated(self.layers.macs, values)
        with judge.file(quantized) as int8, TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            model = to_onnx(graph, contract)
            name_layers(model, graph, list(names.values()))
            onnx_graph.save(onnx_graph.tidy(model), path)
            return layer_times(self.layers.macs, values, (int8, path), contract.sample(1, 0))

    def _write(self, target: Target, quantized: GraphModule, path: Path) -> None:
        """Write a graph as a target's file; the one written last is not made again."""
        if self.written is None or self.written[:2] != (quantized, target.int8_key):
            model = to_onnx(quantized, self.candidate.contract)
            name_layers(model, quantized, list(layer_names(self.start.graph).values()))
            self.written = quantized, target.int8_key, deploy(model, target, self.candidate.contract)
        onnx_graph.save(self.written[2], path)

    def _progress(self) -> None:
        self.done += 1
        self.context.progress(self.done, self.count)
