"""One target's INT8 file: which of its layers stay in float, what is written, and its proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from torch.fx import GraphModule

from edgegan.compress import onnx_graph
from edgegan.compress.agreement import figures
from edgegan.compress.export import to_onnx
from edgegan.compress.quantize.choose import candidates
from edgegan.compress.quantize.choose.budget import PSNR_DB
from edgegan.compress.quantize.choose.file_evaluator import FileEvaluator
from edgegan.compress.quantize.choose.file_proof import judged
from edgegan.compress.quantize.choose.float_layers import Switched, fewer, ladder
from edgegan.compress.quantize.choose.layer_times import LayerTimes, estimated, layer_times, runs_here
from edgegan.compress.quantize.choose.mixed_precision import Assignment, assign, unmet
from edgegan.compress.quantize.choose.quantized_layers import Layers
from edgegan.compress.quantize.choose.sensitivity import sweep, to_dicts
from edgegan.compress.quantize.deploy.int8_coverage import annotated, kernels, saturates
from edgegan.compress.quantize.deploy.integer_reference import one_step
from edgegan.compress.quantize.deploy.node_names import name_layers
from edgegan.compress.quantize.deploy.onnx_passes import deploy
from edgegan.compress.quantize.improve.qat import Training
from edgegan.compress.quantize.plan import Plan
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.quantize.steps import Steps
from edgegan.compress.rewrite.graph import argument, elements
from edgegan.runtime.artifact import USUAL_ENGINE
from edgegan.target import Int8, Target

Writer = Callable[[GraphModule, Path], None]
"""Writes a quantized graph as a file."""


def write(plan: Plan, target: Target, path: Path, steps: Steps) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write one target's file; return what was decided, and the file's proof.

    Raises:
        StageError: no mix of INT8 and float meets the `quality` that was asked for.
    """
    int8 = target.int8
    assert int8 is not None
    task, writer = plan.task, _writer(plan, target)
    contract, effort, winner = task.candidate.contract, task.effort, plan.trials[0]
    with quiet():
        most = steps.done + task.assigning
        chosen = _chosen(plan, target, int8, writer, steps)
        steps.total -= most - steps.done
        training = _training(plan, path.stem, steps)
        quantized = chosen.graph
        if training or quantized is None:
            improvements = [*plan.improvements, *training]
            quantized = candidates.lower(
                plan.start, chosen.layers, int8, plan.calibrator, task.samples.batches, improvements
            )
        writer(quantized, path)
    artifact = target.int8_artifact(path)
    ours = artifact.optimized_by(USUAL_ENGINE)
    compared = task.prove(artifact)
    exact = {"samples": effort.exact, "most": effort.exact_most}
    proof = {
        **figures(compared),
        **judged(compared, task.budget),
        **one_step(artifact, quantized, task.candidate.student, contract, **exact),
        "saturates": ours and int8.weight_bits == 8 and saturates(),
        **(kernels if ours else annotated)(path, {spec.name: spec.shape for spec in contract.inputs}),
        "trials": [trial.to_dict() for trial in plan.trials],
        **chosen.measured,
        **({"training": training[0].losses} if training else {}),
        "file_bytes": path.stat().st_size,
    }
    steps()
    changed = {"target": target.name, "file": path.name, "calibrator": plan.calibrator, **chosen.decided}
    return {**changed, **winner.decided()}, proof


@dataclass(frozen=True)
class _Chosen:
    """Which layers are in INT8, and what is on record of that."""

    layers: Layers
    measured: dict[str, Any]
    decided: dict[str, Any]
    graph: GraphModule | None
    """In Q/DQ form, where one was made."""


def _chosen(plan: Plan, target: Target, int8: Int8, writer: Writer, steps: Steps) -> _Chosen:
    task = plan.task
    budget, quality = task.budget, task.context.quality
    with FileEvaluator(task.candidate, plan.samples, target, writer, task.prove, quality, budget) as judge:
        common = plan.start, task.layers, int8, plan.calibrator
        measured: dict[str, Any] = {}
        if task.settings.sensitivity:
            swept = sweep(*common, judge, steps)
            measured = {"sensitivity": to_dicts(swept, judge.fid.name if judge.fid else None)}
        if not budget.limits:
            return _Chosen(task.layers, measured, {}, None)
        found = assign(*common, [()], budget, judge, steps, plan.improvements)
        if not found.met:
            times = _times(plan, target, found.graph, judge)
            measured["layer_times" if times.measured else "layer_times_estimated"] = times.to_dicts()
            found = _mixed(plan, int8, found, times, judge, steps)
            if task.settings.quality and not found.met:
                raise unmet(budget, found)
    decided = {"precisions": found.precisions, "budget": {**budget.to_dict(), "met": found.met}}
    return _Chosen(found.layers, {**measured, "quality_trials": found.trials}, decided, found.graph)


def _mixed(
    plan: Plan, int8: Int8, found: Assignment, times: LayerTimes, judge: FileEvaluator, steps: Steps
) -> Assignment:
    """Return the best of what was `found` with all in INT8, and of mixes with layers in float."""
    task, budget = plan.task, plan.task.budget
    count = len(task.layers.macs)
    few = task.samples.few(task.effort.sweeping(count))
    improve = candidates.calibration(
        plan.start, int8, plan.calibrator, task.samples.batches, plan.improvements
    )
    look = Switched(plan.start.graph, task.layers, int8, improve), few
    common = plan.start, task.layers, int8, plan.calibrator

    def tried(rungs: list[list[str]], before: Sequence[str] = ()) -> Assignment:
        return assign(*common, rungs, budget, judge, steps, plan.improvements, before)

    reached, asked = found.trials[0][PSNR_DB], task.settings.quality is not None
    rounds = task.effort.rounds(count)
    rungs = ladder(*look, budget, times, rounds=rounds, reached=reached, asked=asked, progress=steps)
    if not rungs:
        return found
    higher = tried(rungs)
    best = max(found, higher, key=lambda of: max(trial["score"] for trial in of.trials))
    found = replace(best, trials=[*found.trials, *higher.trials])
    if not (found.met and task.in_db):
        return found
    chosen = [layer for layer in task.layers.macs if layer in {*found.layers.skip} - {*task.layers.skip}]
    parts = fewer(*look, chosen, times, limit_db=budget.to_dict()[PSNR_DB], progress=steps)
    if not parts:
        return found
    lower = tried(parts, chosen)
    return replace(lower if lower.met else found, trials=[*found.trials, *lower.trials])


def _times(plan: Plan, target: Target, quantized: GraphModule, judge: FileEvaluator) -> LayerTimes:
    """Return what each layer takes in INT8, and in float."""
    contract, graph, macs = plan.task.candidate.contract, plan.start.graph, plan.task.layers.macs
    names = layer_names(graph)
    values: dict[str, int] = {}
    for node, name in names.items():
        values[name] = values.get(name, 0) + elements(node) + elements(argument(node, 0, "input"))
    if not runs_here(target):
        return estimated(macs, values)
    with judge.file(quantized) as int8, TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model = to_onnx(graph, contract)
        name_layers(model, graph, list(names.values()))
        onnx_graph.save(onnx_graph.tidy(model), path)
        return layer_times(macs, values, (int8, path), contract.sample(1, 0))


def _training(plan: Plan, name: str, steps: Steps) -> list[Training]:
    """Return the training of the graph that becomes the file; none where none is asked for."""
    task, before = plan.task, steps.done
    if task.settings.distill is None:
        return []
    context = replace(task.context, progress=lambda done, _: steps.reach(before + done))
    return [Training(task.candidate, task.settings.distill, context, name)]


def _writer(plan: Plan, target: Target) -> Writer:
    """Return what writes graphs as a target's files; the one that was written last is not made again."""
    contract = plan.task.candidate.contract
    names = list(layer_names(plan.start.graph).values())

    @lru_cache(maxsize=1)
    def made(quantized: GraphModule) -> onnx.ModelProto:
        model = to_onnx(quantized, contract)
        name_layers(model, quantized, names)
        return deploy(model, target, contract)

    return lambda quantized, path: onnx_graph.save(made(quantized), path)
