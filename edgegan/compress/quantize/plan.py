"""The decisions of the stage `quantize`, and the files that come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch.fx import GraphModule

from edgegan.compress import onnx_graph
from edgegan.compress.agreement import agreement
from edgegan.compress.export import to_onnx
from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.choose import candidates
from edgegan.compress.quantize.choose.candidates import Improvement, Layers
from edgegan.compress.quantize.choose.effort import Effort
from edgegan.compress.quantize.choose.file_evaluator import FileEvaluator, measurable
from edgegan.compress.quantize.choose.mixed_precision import assign
from edgegan.compress.quantize.choose.sensitivity import ranking, sweep, to_dicts
from edgegan.compress.quantize.deploy.int8_coverage import annotated, kernels, saturates
from edgegan.compress.quantize.deploy.integer_reference import one_step
from edgegan.compress.quantize.deploy.node_names import name_layers
from edgegan.compress.quantize.deploy.onnx_passes import deploy
from edgegan.compress.quantize.improve.bias_correction import Reconstruction, reconstructions
from edgegan.compress.quantize.improve.qat import Training
from edgegan.compress.quantize.prepare import memory
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.quantize.settings import QuantizeSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.artifact import USUAL_ENGINE
from edgegan.target import Int8, Target

AUTOMATIC: tuple[Calibrator, ...] = ("weighted_mse", "mse", "percentile", "mae")


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
        self.layers = candidates.choose_layers(graph, settings.skip, modules)
        self.effort = effort = Effort.of(graph, settings.samples)
        counts = effort.calibration, context.seed, effort.judging
        self.samples = candidates.Samples.of(graph, candidate.contract, *counts)
        room = memory.samples(2 * memory.live_bytes(graph), effort.judging)
        self.proof_batches = (1, max(2, room))
        """Of the samples that a file's proof rests on; ONNX Runtime and torch each take a pass."""
        with quiet():
            self.starts = candidates.starts(graph, self.samples, settings.equalize)
        chosen = settings.calibrator
        self.calibrators: tuple[Calibrator, ...] = AUTOMATIC if chosen == "auto" else (chosen,)
        self.start, self.trials = self.starts[0], []
        self.budget = measurable(settings.quality, context.quality, candidate.contract.distinct())
        sweeps = (settings.sensitivity or bool(settings.quality)) + bool(settings.quality)
        each = 1 + sweeps * (len(self.layers.macs) - len(self.layers.skip))
        each += settings.distill.steps if settings.distill else 0
        self.ways: dict[tuple[str, ...], Reconstruction] = {}
        tried = len(self.starts) * len(self.calibrators)
        tried += 2 ** (settings.gptq + settings.bias_correction) - 1
        self.done, self.count = 0, tried + count * each

    def write(self, target: Target, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Write one target's file; return what was decided, and the file's proof."""
        assert target.int8 is not None
        with quiet():
            if not self.trials:
                self._try(target.int8)
            winner = self.trials[0]
            better = [way for names, way in self.ways.items() if names == winner.improvements]
            layers, assigned, measured = self._assign(target, winner.calibrator, better)
            training = self._training(path)
            common = winner.calibrator, self.samples.batches, [*better, *training]
            quantized = candidates.lower(self.start, layers, target.int8, *common)
            self._write(target, quantized, path)
        changed = {"target": target.name, "file": path.name, "calibrator": winner.calibrator, **assigned}
        artifact = target.int8_artifact(path)
        ours = artifact.optimized_by(USUAL_ENGINE)
        student, contract = self.candidate.student, self.candidate.contract
        proof = {
            **agreement(artifact, student, contract, batches=self.proof_batches),
            **one_step(artifact, quantized, student, contract, samples=self.effort.exact),
            "saturates": ours and target.int8.weight_bits == 8 and saturates(),
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
        self.start, self.trials = candidates.best(
            self.starts, self.layers, int8, self.calibrators, self.samples, self._progress
        )
        self.ways = reconstructions(
            self.start.graph,
            self.samples.batches,
            rounding=self.settings.gptq,
            bias=self.settings.bias_correction,
        )
        best = self.trials[0]
        common = self.start, self.layers, int8, best, self.ways, self.samples, self._progress
        found = [*self.trials, *candidates.improve(*common)]
        self.trials = sorted(found, key=lambda trial: -trial.mean_psnr_db)

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
    ) -> tuple[Layers, dict[str, Any], dict[str, Any]]:
        """Return which layers to quantize for a target; what that changed, and what was measured for it."""
        settings, int8 = self.settings, target.int8
        assert int8 is not None
        if not (settings.sensitivity or settings.quality):
            return self.layers, {}, {}
        write = partial(self._write, target)
        quality = self.context.quality, self.budget
        with FileEvaluator(
            self.candidate, self.samples, target, write, *quality, self.proof_batches
        ) as judge:
            common = self.start, self.layers, int8, calibrator
            table = sweep(*common, judge, self._progress)
            name = judge.fid.name if judge.fid else None
            measured: dict[str, Any] = {"sensitivity": to_dicts(table, name)}
            if not settings.quality:
                return self.layers, {}, measured
            found = assign(*common, ranking(table), self.budget, judge, self._progress, improvements)
        measured["quality_trials"] = found.trials
        return found.layers, {"precisions": found.precisions}, measured

    def _write(self, target: Target, quantized: GraphModule, path: Path) -> None:
        model = to_onnx(quantized, self.candidate.contract)
        name_layers(model, quantized, list(layer_names(self.start.graph).values()))
        onnx_graph.save(deploy(model, target, self.candidate.contract), path)

    def _progress(self) -> None:
        self.done += 1
        self.context.progress(self.done, self.count)
