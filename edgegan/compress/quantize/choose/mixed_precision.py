"""Mixed precision: the layers in float with which INT8 keeps within a quality budget, at the least time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import GraphModule

from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.calibrate.neural_compressor import tune
from edgegan.compress.quantize.choose.budget import PSNR_DB, Budget
from edgegan.compress.quantize.choose.candidates import Improvement, Start, calibration
from edgegan.compress.quantize.choose.file_evaluator import FileEvaluator
from edgegan.compress.quantize.choose.quantized_layers import Layers
from edgegan.compress.quantize.prepare.quantizer import Int8Quantizer
from edgegan.errors import StageError
from edgegan.target import Int8


@dataclass(frozen=True)
class Assignment:
    """Which layers are in INT8, and how that was found."""

    layers: Layers
    trials: list[dict[str, Any]]
    """`layer`: those that went to float on top of the trials before, and `back` those that came back to INT8;
    what was measured; and `score`, 1 where the budget was met."""
    met: bool
    graph: GraphModule
    """In Q/DQ form."""

    @property
    def precisions(self) -> dict[str, str]:
        """Layer to "int8" or "float"."""
        return {layer: "float" if layer in self.layers.skip else "int8" for layer in self.layers.macs}


def assign(
    start: Start,
    layers: Layers,
    int8: Int8,
    calibrator: Calibrator,
    rungs: Sequence[Sequence[str]],
    budget: Budget,
    judge: FileEvaluator,
    progress: Callable[[], object] = lambda: None,
    improvements: Sequence[Improvement] = (),
    before: Sequence[str] = (),
) -> Assignment:
    """Leave the layers of one rung after another in float, until the budget is met; `before`, those were.

    PSNR is what other samples will reach (see `sure_psnr_of`), of the graph, which is quick: only what passes
    is written as a file, and judged as such on samples that chose nothing. The budget holds for both. Where
    no rung meets it, the assignment is that which came nearest.
    """
    tried = [layers.without(rung) for rung in rungs]
    measured: list[dict[str, float]] = []
    graphs: list[GraphModule] = []

    def score(graph: GraphModule) -> float:
        graphs.append(graph)
        measured.append(_measure(graph, budget, judge))
        progress()
        return budget.score(measured[-1])

    annotators = [Int8Quantizer(int8, rung.skip, rung.float_outputs) for rung in tried]
    calibrate = calibration(start, int8, calibrator, judge.samples.batches, improvements)
    scores = tune(start.graph, annotators, calibrate, score)
    trials = [
        {
            **_moved(last, rung),
            **{name: round(value, 4) for name, value in figures.items()},
            "score": round(of, 6),
        }
        for last, rung, figures, of in zip([before, *rungs], rungs, measured, scores)
    ]
    best = max(range(len(scores)), key=scores.__getitem__)
    return Assignment(tried[best], trials, scores[best] >= 1, graphs[best])


def unmet(budget: Budget, found: Assignment) -> StageError:
    """Return the error that says that a budget was not met, and how near it was."""
    best = max(found.trials, key=lambda trial: trial["score"])
    reached = {name: value for name, value in best.items() if name not in ("layer", "back", "score")}
    kept = sum(of == "float" for of in found.precisions.values())
    return StageError(
        f"no mix of INT8 and float meets the budget {budget}: the best, with {kept} of "
        f"{len(found.precisions)} layers in float, reached {budget.in_words(reached)}",
        where="quantize: quality",
        next="allow more in `quality`, calibrate with more `samples`, or leave out the stage `quantize`",
    )


def _moved(last: Sequence[str], rung: Sequence[str]) -> dict[str, str]:
    back = [layer for layer in last if layer not in rung]
    added = ", ".join(layer for layer in rung if layer not in last)
    return {"layer": added or "none", **({"back": ", ".join(back)} if back else {})}


def _measure(graph: GraphModule, budget: Budget, judge: FileEvaluator) -> dict[str, float]:
    measured = {PSNR_DB: judge.samples.sure_psnr_db(graph)}
    if budget.score(measured) < 1:
        return measured
    with judge.file(graph) as path:
        measured[PSNR_DB] = min(measured[PSNR_DB], judge.sure_psnr_db(path))
        for limit in budget.limits:
            if limit.name != PSNR_DB and budget.score(measured) == 1:
                measured[limit.name] = judge.measure(path, limit)
    return measured
