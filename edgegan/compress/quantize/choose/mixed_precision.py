"""Mixed precision: the fewest layers in float with which INT8 keeps within a quality budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import GraphModule

from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.calibrate.neural_compressor import tune
from edgegan.compress.quantize.choose.budget import PSNR_DB, Budget
from edgegan.compress.quantize.choose.candidates import Improvement, Layers, Start, calibration
from edgegan.compress.quantize.choose.file_evaluator import FileEvaluator
from edgegan.compress.quantize.prepare.quantizer import Int8Quantizer
from edgegan.errors import StageError
from edgegan.target import Int8


@dataclass(frozen=True)
class Assignment:
    """Which layers are in INT8, and how that was found."""

    layers: Layers
    trials: list[dict[str, Any]]
    """`layer`, which went to float on top of those of the trials before; what was measured; and `score`, 1
    where the budget was met."""

    @property
    def precisions(self) -> dict[str, str]:
        """Layer to "int8" or "float"."""
        return {layer: "float" if layer in self.layers.skip else "int8" for layer in self.layers.macs}


def assign(
    start: Start,
    layers: Layers,
    int8: Int8,
    calibrator: Calibrator,
    ranked: Sequence[str],
    budget: Budget,
    judge: FileEvaluator,
    progress: Callable[[], object] = lambda: None,
    improvements: Sequence[Improvement] = (),
) -> Assignment:
    """Take layers out of INT8, in the order of `ranked`, until the budget is met; one at least stays.

    PSNR is first that of the graph, which is quick: only what passes is written as a file, and judged as such
    on other samples. The budget holds for both.

    Raises:
        StageError: the budget was not met.
    """
    ladder = [layers.without(ranked[:count]) for count in range(len(ranked))]
    measured: list[dict[str, float]] = []

    def score(graph: GraphModule) -> float:
        measured.append(_measure(graph, budget, judge))
        progress()
        return budget.score(measured[-1])

    annotators = [Int8Quantizer(int8, rung.skip, rung.float_outputs) for rung in ladder]
    calibrate = calibration(start, int8, calibrator, judge.samples.batches, improvements)
    scores = tune(start.graph, annotators, calibrate, score)
    trials = [
        {"layer": layer, **{name: round(value, 4) for name, value in figures.items()}, "score": round(of, 6)}
        for layer, figures, of in zip(["none", *ranked], measured, scores)
    ]
    if scores[-1] < 1:
        best = max(range(len(scores)), key=scores.__getitem__)
        raise StageError(
            f"no mix of INT8 and float meets the budget {budget}: the best, with {best} of {len(ranked)} "
            f"layers in float, reached {budget.in_words(measured[best])}",
            where="quantize: quality",
            next="allow more in `quality`, calibrate with more `samples`, or leave out the stage `quantize`",
        )
    return Assignment(ladder[len(scores) - 1], trials)


def _measure(graph: GraphModule, budget: Budget, judge: FileEvaluator) -> dict[str, float]:
    measured = {PSNR_DB: judge.samples.psnr_db(graph)}
    if budget.score(measured) < 1:
        return measured
    with judge.file(graph) as path:
        measured[PSNR_DB] = min(measured[PSNR_DB], judge.psnr_db(path))
        for limit in budget.limits:
            if limit.name != PSNR_DB and budget.score(measured) == 1:
                measured[limit.name] = judge.measure(path, limit)
    return measured
